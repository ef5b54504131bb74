"""Stage `train`: fit on every partition but the newest, which is the holdout, and write the ONNX that ships."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from .. import ml, settings
from ..errors import UserError
from ..paths import FEATURES, MODEL, TRAINING
from . import run_stage, workers


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
        print(f"epoch {figures['epoch']:.0f}/{figures['epochs']:.0f}: {shown} ({left:.0f} s left)", flush=True)


def training_rows() -> pl.DataFrame:
    """Labelled rows of all partitions but the newest."""
    files = sorted(FEATURES.glob("*.parquet"))
    if len(files) < 2:
        raise UserError(f"features/ holds {len(files)} partition(s), training needs two: run `make data UNTIL=…`")
    return pl.scan_parquet(files[:-1]).filter(pl.col(ml.LABEL).is_not_null()).collect()


def work() -> None:
    """Write `models/model.onnx` and `reports/training.csv`, in one of any number of processes."""
    compute, history = settings.infra().compute, History()
    with workers.joined(compute.device) as first:
        model = ml.train(
            training_rows(),
            settings.params(),
            device=compute.device,
            precision=compute.precision,
            threads=compute.threads,
            progress=history if first else lambda _: None,
        )
    if first:
        for path in (MODEL, TRAINING):
            path.parent.mkdir(exist_ok=True)
        MODEL.write_bytes(model)
        pl.DataFrame(history.rows).write_csv(TRAINING)


def main() -> None:
    """Train in as many processes as infra.yaml says, or in those that torchrun started."""
    processes = settings.infra().compute.processes
    if processes > 1 and not workers.started_by_torchrun():
        workers.launch(processes, work)
    else:
        work()


if __name__ == "__main__":
    run_stage(main)
