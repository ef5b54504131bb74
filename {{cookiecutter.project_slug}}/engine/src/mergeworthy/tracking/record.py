"""What there is to record of a training, read from disk and checked before a server hears of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from .. import artifact, files
from ..adapters import dvc_files
from ..adapters.lineage import lineage
from ..errors import UserError
from ..files import md5
from ..paths import FEATURES, LOCK, METRICS, MODEL, PLOTS, TRAINING, VERDICT

Arrays = Mapping[str, np.ndarray[Any, Any]]
KINDS: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(string)": np.str_,
}
EXAMPLE_ROWS = 5
MEND = "run `make pipeline`"


@dataclass(frozen=True)
class Shipped:
    """The artifact with rows of the newest partition, input name → (5, 1), and its answer to them."""

    content: bytes
    example: Arrays
    answer: Arrays


@dataclass(frozen=True)
class Record:
    """One training. `history` holds a mapping per epoch; `verdict` is None unless it is about this very model."""

    tags: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    history: list[dict[str, float]]
    plots: list[Path]
    model: Shipped
    verdict: str | None

    @property
    def size(self) -> str:
        """How much there is of each."""
        epochs, megabytes = len(self.history), len(self.model.content) / 1e6
        return f"{len(self.metrics)} metrics, {epochs} epochs, {len(self.plots)} plots, model {megabytes:.2f} MB"


def read() -> Record:
    """Read it; raise `UserError` where a file is not the one that dvc.lock names, or cannot be used."""
    lock, tags = dvc_files.read(LOCK), lineage()
    written = dvc_files.outs(lock)
    for path in (MODEL, METRICS, TRAINING):
        if md5(path) != written.get(path.as_posix()):
            raise UserError(f"{path} is not the one that {LOCK} names: run `make pipeline`")
    figures = dvc_files.flat(files.read_mapping(METRICS, MEND), "/")
    return Record(
        tags={**tags, **{name: value for name, value in figures.items() if isinstance(value, str)}},
        params=dvc_files.params(lock),
        metrics={name.removeprefix("model/"): float(v) for name, v in figures.items() if isinstance(v, int | float)},
        history=_history(),
        plots=sorted(PLOTS.glob("*.png")),
        model=_shipped(),
        verdict=verdict(tags["lock"]),
    )


def verdict(lock: str) -> str | None:
    """Give the gate's outcome for this lock; None where it has not judged yet, or judged another one."""
    said = files.read_mapping(VERDICT, "run `make gate`") if VERDICT.exists() else {}
    return str(said["outcome"]) if said.get("lock") == lock and "outcome" in said else None


def _history() -> list[dict[str, float]]:
    rows = (
        files.read_csv(TRAINING, MEND, empty=True)
        .drop("epochs", strict=False)
        .cast(pl.Float64, strict=False)
        .to_dicts()
    )
    return [{name: value for name, value in row.items() if value is not None and math.isfinite(value)} for row in rows]


def _shipped() -> Shipped:
    content = files.read_bytes(MODEL, MEND)
    try:
        session = artifact.session(content)
        example = {i.name: _column(i.name, KINDS[i.type]) for i in session.get_inputs()}
        names = [output.name for output in session.get_outputs()]
        return Shipped(content, example, dict(zip(names, session.run(names, example), strict=True)))
    except Exception as error:
        raise UserError(f"{MODEL} does not run ({type(error).__name__}: {error}): run `make pipeline`") from error


def _column(name: str, kind: type[np.generic]) -> np.ndarray[Any, Any]:
    """Give the first rows of one input, (5, 1); a missing value where features/ is not on disk."""
    found = sorted(FEATURES.glob("*.parquet"))
    rows = files.scan_parquet(found[-1:], MEND, [name]).select(name).head(EXAMPLE_ROWS).collect() if found else None
    values = pl.Series([None]) if rows is None else rows[name]
    missing, dtype = ("", pl.String) if kind is np.str_ else (math.nan, pl.Float64)
    return values.cast(dtype).fill_null(missing).to_numpy().astype(kind).reshape(-1, 1)
