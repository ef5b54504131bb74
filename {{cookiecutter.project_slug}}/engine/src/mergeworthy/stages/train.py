"""Stage `train`: fit on every partition but the newest, which is the holdout, and write the ONNX that ships."""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import polars as pl
from pydantic import BaseModel

from .. import holdout
from ..config.base import params as read_params
from ..config.infra import Compute as ComputeSettings
from ..config.infra import infra as read_infra
from ..errors import UserError
from ..files import digest, scan_parquet, whole
from ..interface import Compute
from ..paths import FEATURES, MODEL, TRAINING
from ..project import registered, team_code
from ..text import say
from . import distributed
from .base import run_stage
from .distributed import Checkpoint

# DOC stages.trainable: Whether the feature files can be trained on and measured on, found out before the time for it
# is spent.

ADVICE, FIX = "see the features in src/ml", "run `make pipeline`"


def check_trainable(training: list[Path], holdout: Path, processes: int = 1) -> None:
    """Raise `UserError` naming file or column if a model of `training` cannot be fitted, or not measured on `holdout`.

    What can be fitted all the same, columns without any value, is a warning on standard error.
    """
    schema = _schema(training[0])
    for path in [*training[1:], holdout]:
        if odd := sorted(set(schema.items()) ^ set(_schema(path).items()), key=str):
            raise UserError(f"{path}: column {odd[0][0]} is another one than in {training[0]}: run `make pipeline`")
    if registered().target not in schema:
        raise UserError(f"{training[0]}: there is no label column {registered().target}: {ADVICE}")
    categories, numbers = registered().inputs(schema)
    _types({name: schema[name] for name in categories}, {name: schema[name] for name in numbers})
    rows = scan_parquet(training, FIX)
    _labels(rows, f"the training rows, {training[0].stem} to {training[-1].stem}", processes)
    _labels(scan_parquet([holdout], FIX), f"{holdout}, the holdout", 1)
    names = [*categories, *numbers]
    known = rows.filter(pl.col(registered().target).is_not_null()).select(pl.col(names).count()).collect().row(0)
    empty = [name for name, count in zip(names, known, strict=True) if count == 0]
    if len(empty) == len(names):
        raise UserError(f"all {len(names)} inputs are null in every training row: {ADVICE}")
    if empty:
        say(f"warning: null in every training row, so of no use: {', '.join(empty)}: {ADVICE}", file=sys.stderr)


def _schema(path: Path) -> pl.Schema:
    return scan_parquet([path], FIX).collect_schema()


def _types(categories: dict[str, pl.DataType], numbers: dict[str, pl.DataType]) -> None:
    if not categories and not numbers:
        raise UserError(f"the feature files hold no input beside keys and label: {ADVICE}")
    odd = {name: dtype for name, dtype in categories.items() if dtype != pl.String}
    odd |= {name: d for name, d in numbers.items() if not (d.is_float() or d.is_integer() or d == pl.Boolean)}
    for name, dtype in odd.items():
        raise UserError(
            f"the feature column {name} has type {dtype}, and an input is text, a float, an integer or a Boolean: "
            f"cast it, {ADVICE}"
        )


def _labels(rows: pl.LazyFrame, where: str, least: int) -> None:
    label = pl.col(registered().target)
    count, kinds = rows.select(label.count(), kinds=label.drop_nulls().n_unique()).collect().row(0)
    if count == 0:
        raise UserError(
            f"no row of {where} has a known {registered().target}: take other partitions (`make data UNTIL=…`)"
        )
    if kinds == 1:
        one = rows.select(label.drop_nulls().first()).collect().item()
        raise UserError(
            f"{where}: {registered().target} is {one} in each of the {count:,} rows that have it: with one class "
            "there is nothing to learn or to measure, take other partitions (`make data UNTIL=…`)"
        )
    if count < least:
        raise UserError(f"{where}: {count:,} rows for {least:,} processes: lower compute.processes in infra.yaml")


MEND = "run `make pipeline`"
PINS = Path("pyproject.toml")  # of the libraries that train


@dataclass
class History:
    """Each epoch's figures: a line for whoever waits, a row of `reports/training.csv` for the report."""

    started: float = field(default_factory=time.monotonic)
    rows: list[dict[str, float]] = field(default_factory=list)

    def __call__(self, figures: Mapping[str, float]) -> None:
        """Take the figures of one epoch; `epoch` and `epochs` among them say how long is left."""
        self.rows.append(dict(figures))
        left = (time.monotonic() - self.started) / figures["epoch"] * (figures["epochs"] - figures["epoch"])
        shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items() if name not in ("epoch", "epochs"))
        say(f"epoch {figures['epoch']:.0f}/{figures['epochs']:.0f}: {shown} ({left:.0f} s left)")


def training_files() -> list[Path]:
    """Return the feature files of all partitions but the newest; raise `UserError` if they cannot be trained on."""
    files = sorted(FEATURES.glob("*.parquet"))
    if len(files) < 2:
        raise UserError(f"features/ holds {len(files)} partition(s), training needs two: run `make data UNTIL=…`")
    with whole(files[:-1], MEND):
        for path in files[:-1]:
            holdout.check_label(scan_parquet([path], MEND), path)
    return files[:-1]


def key(files: list[Path], params: BaseModel, compute: ComputeSettings) -> str:
    """Hash of all that a model is made from, and of how many processes share the work."""
    shared = compute.model_dump_json(exclude={"rendezvous"})
    values = [params.model_dump_json(), shared, os.environ.get("WORLD_SIZE", "1")]
    code = [Path(distributed.__file__), *team_code(), *([PINS] if PINS.exists() else [])]
    return digest(values, [*code, *files])


def _silent(_: Mapping[str, float]) -> None:
    """Report nothing: the first of several processes does."""


def work() -> None:
    """Write `models/model.onnx` and `reports/training.csv`, in one of any number of processes."""
    params, compute, files, history = read_params(), read_infra().compute, training_files(), History()
    checkpoint = Checkpoint(key(files, params, compute))
    with (
        whole(files, MEND),
        distributed.joined(compute.device) as first,
        distributed.dealt(files, compute.memory_gb) as dealt,
    ):
        told = history if first else _silent
        where = Compute(compute.device, compute.precision, compute.threads, checkpoint, told)
        model = registered().fit(registered().dataset(dealt), params, where)
    if first:
        for path in (MODEL, TRAINING):
            path.parent.mkdir(exist_ok=True)
        MODEL.write_bytes(model)
        pl.DataFrame(history.rows).write_csv(TRAINING)
        checkpoint.remove()


def main() -> None:
    """Train where and in as many processes as infra.yaml says, or in those that torchrun started."""
    infra = read_infra()
    compute = infra.compute
    training = training_files()
    check_trainable(training, sorted(FEATURES.glob("*.parquet"))[-1], compute.processes * compute.nodes)
    if distributed.started_by_torchrun():
        work()
    elif infra.ray:
        import_module("mergeworthy.extras.clusters").train(infra, infra.ray)
    elif compute.processes * compute.nodes == 1:
        work()
    elif compute.nodes == 1:
        distributed.launch(compute.processes, work)
    elif compute.rendezvous:
        distributed.launch(compute.processes, work, compute.nodes, compute.rendezvous)
    else:
        raise UserError("infra.yaml: compute.rendezvous: nodes meet somewhere: name the host and port of one")


if __name__ == "__main__":
    run_stage(main)
