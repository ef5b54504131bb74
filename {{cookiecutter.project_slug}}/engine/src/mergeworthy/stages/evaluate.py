"""Stage `evaluate`: score the ONNX that ships on the holdout, and write metrics, predictions and plots."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .. import artifact, files, holdout
from ..errors import run
from ..paths import METRICS, PLOTS, PREDICTIONS, TRAINING
from ..project import registered
from . import base

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

BLUE, ORANGE, GREY = "#1f6fb4", "#d9650f", "#888888"
STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
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
    draw_plots(PLOTS, newest.label, score, files.read_csv(TRAINING, "run `make pipeline`", empty=True))


def draw_plots(folder: Path, label: Bools, score: Floats, history: pl.DataFrame) -> None:
    """Write roc.png, calibration.png, scores.png and, if the model reports epochs, training.png.

    `label` and `score` have the shape (N,). Equal figures give equal bytes.
    """
    with mpl.rc_context(STYLE):
        _save(folder / "roc.png", lambda axes: _roc(axes, label, score))
        _save(folder / "calibration.png", lambda axes: _calibration(axes, label, score))
        _save(folder / "scores.png", lambda axes: _scores(axes, label, score))
        if "epoch" in history.columns:
            _save(folder / "training.png", lambda axes: _training(axes, history))


def _save(path: Path, draw: Any) -> None:
    figure = Figure(figsize=(4.8, 3.6), dpi=100, layout="constrained")
    draw(figure.subplots())
    figure.savefig(path, metadata={"Software": None})


def _roc(axes: Axes, label: Bools, score: Floats) -> None:
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=np.inf))  # ties are one step, a diagonal
    hits, alarms = np.cumsum(label[order])[last], np.cumsum(~label[order])[last]
    axes.plot([0, *alarms / max(alarms[-1], 1)], [0, *hits / max(hits[-1], 1)], color=BLUE)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    axes.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1))


def _calibration(axes: Axes, label: Bools, score: Floats, bins: int = 15) -> None:
    groups = np.array_split(np.argsort(score, kind="stable"), min(bins, len(score)))
    predicted, observed = ([float(values[group].mean()) for group in groups] for values in (score, label))
    top = max(*predicted, *observed, 0.1) * 1.05
    axes.plot([0, top], [0, top], color=GREY, linestyle=":", label="right")
    axes.plot(predicted, observed, color=BLUE, marker="o", markersize=4, label="model, bins of equal size")
    axes.set(title="Calibration", xlabel="mean score", ylabel="share of positives", xlim=(0, top), ylim=(0, top))
    axes.legend(frameon=False)


def _scores(axes: Axes, label: Bools, score: Floats) -> None:
    bins = list(np.linspace(0, 1, 41))
    for rows, name, colour in ((~label, "negative", BLUE), (label, "positive", ORANGE)):
        axes.hist(score[rows], bins=bins, density=True, alpha=0.55, color=colour, label=f"{name} ({rows.sum():,} rows)")
    axes.set(title="Scores by label", xlabel="score", ylabel="density", xlim=(0, 1))
    axes.legend(frameon=False)


def _training(axes: Axes, history: pl.DataFrame) -> None:
    for name in history.columns:
        if name.endswith("loss"):
            axes.plot(history["epoch"], history[name], marker="o", markersize=3, label=name.replace("_", " "))
    axes.set(title="Training", xlabel="epoch", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)


if __name__ == "__main__":
    run(main)
