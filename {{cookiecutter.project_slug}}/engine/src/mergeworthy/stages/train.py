"""Stage `train`: fit on every partition but the newest, which is the holdout, and write the ONNX that ships."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import polars as pl
from pydantic import BaseModel

from .. import label
from ..config.infra import Compute as ComputeSettings
from ..config.infra import infra as read_infra
from ..config.params import params as read_params
from ..dataset import Compute
from ..digest import digest
from ..errors import UserError
from ..files import scan_parquet, whole
from ..paths import FEATURES, MODEL, TRAINING
from ..project import registered, team_code
from ..text import say
from . import parts, run_stage, trainable, workers
from .checkpoint import Checkpoint

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
            label.check(scan_parquet([path], MEND), path)
    return files[:-1]


def key(files: list[Path], params: BaseModel, compute: ComputeSettings) -> str:
    """Hash of all that a model is made from, and of how many processes share the work."""
    shared = compute.model_dump_json(exclude={"rendezvous"})
    values = [params.model_dump_json(), shared, os.environ.get("WORLD_SIZE", "1")]
    code = [Path(parts.__file__), *team_code(), *([PINS] if PINS.exists() else [])]
    return digest(values, [*code, *files])


def _silent(_: Mapping[str, float]) -> None:
    """Report nothing: the first of several processes does."""


def work() -> None:
    """Write `models/model.onnx` and `reports/training.csv`, in one of any number of processes."""
    params, compute, files, history = read_params(), read_infra().compute, training_files(), History()
    checkpoint = Checkpoint(key(files, params, compute))
    with whole(files, MEND), workers.joined(compute.device) as first, parts.dealt(files, compute.memory_gb) as dealt:
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
    trainable.check(training, sorted(FEATURES.glob("*.parquet"))[-1], compute.processes * compute.nodes)
    if workers.started_by_torchrun():
        work()
    elif infra.ray:
        import_module("mergeworthy.extras.ray").train(infra, infra.ray)
    elif compute.processes * compute.nodes == 1:
        work()
    elif compute.nodes == 1:
        workers.launch(compute.processes, work)
    elif compute.rendezvous:
        workers.launch(compute.processes, work, compute.nodes, compute.rendezvous)
    else:
        raise UserError("infra.yaml: compute.rendezvous: nodes meet somewhere: name the host and port of one")


if __name__ == "__main__":
    run_stage(main)
