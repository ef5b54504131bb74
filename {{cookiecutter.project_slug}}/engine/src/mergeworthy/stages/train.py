"""Stage `train`: fit on every partition but the newest, which is the holdout, and write the ONNX that ships.

The feature files are checked first, so that no time is spent on a training that cannot succeed or be measured.
"""

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
from ..config.base import stage_params
from ..config.infra import Compute as ComputeSettings
from ..config.infra import infra as read_infra
from ..errors import UserError
from ..files import digest, scan_parquet, whole
from ..interface import Compute, report_nothing
from ..paths import FEATURES, MODEL, TRAINING
from ..project import registered, team_code
from ..text import say
from . import distributed
from .base import run_stage
from .distributed import Checkpoint

SEE_FEATURES = "see the features in src/ml"
RUN_PIPELINE = "run `make pipeline`"
PINS = Path("pyproject.toml")  # the versions of the libraries that train


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
        raise UserError(
            "infra.yaml: compute.rendezvous: missing, but compute.nodes needs it: name host and port of one machine"
        )


def work() -> None:
    """Write `models/model.onnx` and `reports/training.csv`, in one of any number of processes."""
    params, compute, files, log = stage_params("train"), read_infra().compute, training_files(), TrainingLog()
    checkpoint = Checkpoint(checkpoint_key(files, params, compute))
    with (
        whole(files, RUN_PIPELINE),
        distributed.process_group(compute.device) as first,
        distributed.sharded(files, compute.memory_gb) as shards,
    ):
        progress = log if first else report_nothing
        resources = Compute(compute.device, compute.precision, compute.threads, checkpoint, progress)
        model = registered().fit(registered().dataset(shards), params, resources)
    if first:
        for path in (MODEL, TRAINING):
            path.parent.mkdir(exist_ok=True)
        MODEL.write_bytes(model)
        pl.DataFrame(log.rows).write_csv(TRAINING)
        checkpoint.remove()


@dataclass
class TrainingLog:
    """The figures of each epoch: printed as a line, and kept as a row of `reports/training.csv`."""

    started: float = field(default_factory=time.monotonic)
    rows: list[dict[str, float]] = field(default_factory=list)

    def __call__(self, figures: Mapping[str, float]) -> None:
        """Add the figures of one epoch; `epoch` and `epochs` among them give the remaining time."""
        self.rows.append(dict(figures))
        left = (time.monotonic() - self.started) / figures["epoch"] * (figures["epochs"] - figures["epoch"])
        shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items() if name not in ("epoch", "epochs"))
        say(f"epoch {figures['epoch']:.0f}/{figures['epochs']:.0f}: {shown} ({left:.0f} s left)")


def training_files() -> list[Path]:
    """Return the feature files of all partitions but the newest; raise `UserError` if they cannot be trained on."""
    files = sorted(FEATURES.glob("*.parquet"))
    if len(files) < 2:
        raise UserError(f"features/ holds {len(files)} partition(s), training needs two: run `make data UNTIL=…`")
    with whole(files[:-1], RUN_PIPELINE):
        for path in files[:-1]:
            holdout.check_label(scan_parquet([path], RUN_PIPELINE), path)
    return files[:-1]


def checkpoint_key(files: list[Path], params: BaseModel, compute: ComputeSettings) -> str:
    """Return the hash of everything that a model is made from, and of the number of processes."""
    settings = compute.model_dump_json(exclude={"rendezvous"})
    values = [params.model_dump_json(), settings, os.environ.get("WORLD_SIZE", "1")]
    code = [Path(distributed.__file__), *team_code(), *([PINS] if PINS.exists() else [])]
    return digest(values, [*code, *files])


def check_trainable(training: list[Path], holdout: Path, processes: int = 1) -> None:
    """Raise `UserError` naming file or column if no model can be fitted to `training`, or measured on `holdout`.

    Print a warning if a column has no value in any training row, because a model can still be fitted.
    """
    schema = _schema(training[0])
    for path in [*training[1:], holdout]:
        if different := sorted(set(schema.items()) ^ set(_schema(path).items()), key=str):
            raise UserError(f"{path}: column {different[0][0]} differs from {training[0]}: {RUN_PIPELINE}")
    if registered().target not in schema:
        raise UserError(f"{training[0]}: there is no label column {registered().target}: {SEE_FEATURES}")
    categories, numbers = registered().inputs(schema)
    _check_types({name: schema[name] for name in categories}, {name: schema[name] for name in numbers})
    rows = scan_parquet(training, RUN_PIPELINE)
    _check_labels(rows, f"the training rows, {training[0].stem} to {training[-1].stem}", processes)
    _check_labels(scan_parquet([holdout], RUN_PIPELINE), f"{holdout}, the holdout", 1)
    inputs = [*categories, *numbers]
    counts = rows.filter(pl.col(registered().target).is_not_null()).select(pl.col(inputs).count()).collect().row(0)
    empty = [name for name, count in zip(inputs, counts, strict=True) if count == 0]
    if len(empty) == len(inputs):
        raise UserError(f"all {len(inputs)} inputs are null in every training row: {SEE_FEATURES}")
    if empty:
        say(f"warning: null in every training row, so of no use: {', '.join(empty)}: {SEE_FEATURES}", file=sys.stderr)


def _schema(path: Path) -> pl.Schema:
    return scan_parquet([path], RUN_PIPELINE).collect_schema()


def _check_types(categories: dict[str, pl.DataType], numbers: dict[str, pl.DataType]) -> None:
    if not categories and not numbers:
        raise UserError(f"the feature files hold no input beside keys and label: {SEE_FEATURES}")
    wrong = {name: dtype for name, dtype in categories.items() if dtype != pl.String}
    wrong |= {name: d for name, d in numbers.items() if not (d.is_float() or d.is_integer() or d == pl.Boolean)}
    for name, dtype in wrong.items():
        raise UserError(
            f"the feature column {name} has type {dtype}, and an input must be text, a float, an integer or a Boolean: "
            f"cast it, {SEE_FEATURES}"
        )


def _check_labels(rows: pl.LazyFrame, where: str, minimum_rows: int) -> None:
    label = pl.col(registered().target)
    count, classes = rows.select(label.count(), classes=label.drop_nulls().n_unique()).collect().row(0)
    if count == 0:
        raise UserError(
            f"no row of {where} has a known {registered().target}: take other partitions (`make data UNTIL=…`)"
        )
    if classes == 1:
        value = rows.select(label.drop_nulls().first()).collect().item()
        raise UserError(
            f"{where}: {registered().target} is {value} in each of the {count:,} rows that have it: with one class "
            "there is nothing to learn or to measure, take other partitions (`make data UNTIL=…`)"
        )
    if count < minimum_rows:
        raise UserError(
            f"{where}: {count:,} rows for {minimum_rows:,} processes: lower compute.processes in infra.yaml"
        )


if __name__ == "__main__":
    run_stage(main)
