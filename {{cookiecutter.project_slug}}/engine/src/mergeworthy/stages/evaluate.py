"""Stage `evaluate`: score the ONNX that ships on the holdout, and write metrics, predictions and plots."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .. import artifact, files, holdout, plots
from ..errors import run
from ..files import METRICS, PLOTS, PREDICTIONS, TRAINING
from ..plots import Plot
from ..project import registered
from . import base

STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "font.size": 10,
}


def main() -> None:
    """Write `reports/metrics.json`, `reports/predictions.parquet` and `reports/plots/*.png`.

    The predictions hold key, label and score of each row; later challengers are compared with them.
    """
    base.check()
    session, newest = artifact.load(), holdout.read()
    score = artifact.predict(session, newest.table)
    PLOTS.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(holdout.measure(newest, score), indent=2) + "\n")
    rows = newest.table.select(*registered().key, registered().target)
    rows.with_columns(score=pl.Series(score, dtype=registered().task.score_type)).write_parquet(PREDICTIONS)
    training = plots.training(files.read_csv(TRAINING, "run `make pipeline`", empty=True))
    for plot in [*registered().task.plots(newest.label, score.astype(np.float64)), *([training] if training else [])]:
        draw(plot, PLOTS / f"{plot.name}.png")


def draw(plot: Plot, path: Path) -> None:
    """Write a plot as PNG; equal figures give equal bytes."""
    with mpl.rc_context(STYLE):
        page = Figure(figsize=(4.8, 3.6), dpi=100, layout="constrained")
        axes = page.subplots()
        for series in plot.series:
            if series.kind == "bar":
                axes.bar(series.x, series.y, color=series.colour, alpha=0.7, label=series.name)
            else:
                axes.plot(series.x, series.y, color=series.colour, label=series.name)
        axes.set(title=plot.title, xlabel=plot.axes[0], ylabel=plot.axes[1], ylim=(plot.low, None))
        if all((series.x == series.x.round()).all() and len(series.x) > 2 for series in plot.series):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize="small")
        page.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    run(main)
