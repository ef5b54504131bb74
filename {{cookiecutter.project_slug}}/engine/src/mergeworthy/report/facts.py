"""The facts of the report: verdict, metrics, predictions, scores of the champion and training history."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from .. import files, holdout
from ..adapters import git
from ..adapters.actions import Event, current
from ..errors import UserError
from ..files import CHAMPION, LOCK, METRICS, PREDICTIONS, TRAINING, VERDICT
from ..project import registered
from ..stats import Floats, Targets
from ..verdict import Verdict

Content = TypeVar("Content")
REMEDY = "run `make pipeline`"


@dataclass(frozen=True)
class Facts:
    """Inputs of the report. A field is None if the gate blocked before its file was written.

    `label`, `score` and `champion_score` (None if the gate did not write the champion's scores) belong to the N rows
    of the holdout: labels have the shape (N,), scores (N,) or (N, width). `base` is the commit that changes are
    compared with: where this branch left the champion's.
    """

    verdict: Verdict
    measured: dict[str, Any] | None
    label: Targets | None
    score: Floats | None
    champion_score: Floats | None
    history: pl.DataFrame | None
    event: Event
    base: str | None


def read() -> Facts:
    """Return the facts; raise `UserError` if a file is missing or unreadable and the gate did not block anyway."""
    verdict = read_verdict()
    blocked = verdict.outcome == "block"
    label, score, champion = _required(PREDICTIONS, _predictions, blocked=blocked) or (None, None, None)
    return Facts(
        verdict=verdict,
        measured=_required(METRICS, read_metrics, blocked=blocked),
        label=label,
        score=score,
        champion_score=champion if verdict.champion else None,
        history=_required(TRAINING, _history, blocked=blocked),
        event=current(),
        base=verdict.champion and (git.merge_base(verdict.champion, "HEAD") or verdict.champion),
    )


def read_verdict() -> Verdict:
    """Return the gate's verdict on this dvc.lock; raise `UserError` if the verdict is about another one."""
    verdict = files.read_record(VERDICT, Verdict, "a verdict", "run `make gate`")
    lock = files.md5(LOCK) if LOCK.exists() else None
    if verdict.lock != lock:
        raise UserError(f"{VERDICT} is about another {LOCK} than the one here: run `make gate` again")
    return verdict


def read_metrics(path: Path = METRICS) -> dict[str, Any]:
    """Return what evaluation measured; raise `UserError` if a part of it is missing."""
    measured = files.read_mapping(path, REMEDY)
    model, baseline = measured.get("model"), measured.get("baseline")
    if not isinstance(model, dict) or not isinstance(baseline, dict) or model.keys() != baseline.keys():
        raise UserError(f"{path}: model and baseline: the same metrics of both are expected: {REMEDY}")
    for name in ("partition", "rows"):
        if name not in measured:
            raise UserError(f"{path}: {name} is missing: {REMEDY}")
    return measured


def champion_scores(predictions: pl.DataFrame) -> Floats | None:
    """Return the champion's scores, shape (N,) or (N, width); None if the gate did not write one for every row.

    The scores only add a line to a plot, so a file that is missing or unreadable is no error.
    """
    try:
        keys = registered().key
        scores = predictions.select(keys).join(
            pl.read_parquet(CHAMPION), on=keys, how="left", nulls_equal=True, maintain_order="left"
        )["score"]
    except (OSError, UserError, pl.exceptions.PolarsError):
        return None
    return None if scores.null_count() or len(scores) != predictions.height else _scores(scores)


def _predictions(path: Path) -> tuple[Targets, Floats, Floats | None]:
    table = files.read_parquet(path, REMEDY, [registered().target, "score"])
    return holdout.labels(table, path), _scores(table["score"]), champion_scores(table)


def _scores(column: pl.Series) -> Floats:
    """Return the scores of N rows, shape (N,) or (N, width)."""
    return column.to_numpy().astype(np.float64)


def _history(path: Path) -> pl.DataFrame:
    return files.read_csv(path, REMEDY)


def _required(path: Path, reader: Callable[[Path], Content], *, blocked: bool) -> Content | None:
    """Read a file that a stage wrote; return None if it is missing or broken and the gate blocked."""
    try:
        return reader(path)
    except UserError:
        if blocked:
            return None
        raise
