"""The section of plots, as Mermaid charts inside the comment: GitHub draws them itself, and nothing is uploaded.

Mermaid's chart has no legend and only evenly spaced points, so each chart is small and its caption names the lines.
"""

import numpy as np
import polars as pl

from ..render import BLUE, GREY, ORANGE, chart
from ..stats import Bools, Floats
from ..text import code
from .facts import Facts
from .layout import Section

EPOCHS = 30  # points of a training history


def plots_section(facts: Facts) -> Section | None:
    """Return the charts of calibration, ROC and training loss that there are figures for; None without any."""
    charts = []
    if facts.label is not None and facts.score is not None:
        charts += _score_charts(facts.label, facts.score, facts.champion_score)
    if facts.history is not None and (loss := _loss_chart(facts.history)):
        charts.append(loss)
    if not charts:
        return None
    note = "<sub>The full plots, with the scores by label: `dvc pull reports/plots`.</sub>"
    return Section("plots", "\n\n".join(["### Plots", *charts, note]), rank=4)


def calibration(label: Bools, score: Floats, bins: int = 10) -> tuple[Floats, Floats]:
    """Return mean score and share of positives in bins of equal mass, lowest scores first; each of shape (bins,)."""
    groups = np.array_split(np.argsort(score, kind="stable"), min(bins, len(score)))
    predicted, observed = (np.array([values[group].mean() for group in groups]) for values in (score, label))
    return predicted, observed


def roc(label: Bools, score: Floats, points: int = 21) -> Floats:
    """Return the true positive rate at evenly spaced false positive rates from 0 to 1, shape (points,).

    All are NaN if there is only one class.
    """
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=np.inf))  # equal scores are one step, a diagonal
    hits, alarms = np.cumsum(label[order])[last], np.cumsum(~label[order])[last]
    if not hits[-1] or not alarms[-1]:
        return np.full(points, np.nan)
    false, true = (np.concatenate([[0], counts / counts[-1]]) for counts in (alarms, hits))
    rates: Floats = np.interp(np.linspace(0, 1, points), false, true)
    return rates


def thinned(epoch: Floats, value: Floats, points: int = EPOCHS) -> Floats:
    """Return a history at no more than `points` evenly spaced epochs, gaps interpolated; shape (points,) or fewer."""
    finite = np.isfinite(value)
    return np.interp(np.linspace(epoch[0], epoch[-1], min(points, len(epoch))), epoch[finite], value[finite])


def _score_charts(label: Bools, score: Floats, champion_score: Floats | None) -> list[str]:
    predicted, observed = calibration(label, score)
    deciles = f"[{', '.join(str(number + 1) for number in range(len(predicted)))}]"
    bars = chart(
        ("tenths of the rows, by score", "share of positives"),
        deciles,
        [("bar", BLUE, observed), ("line", ORANGE, predicted)],
    )
    charts = [f"**Calibration**: 🔵 bars are what happened, the 🟠 line what was predicted.\n\n{bars}"]
    curve, chance = roc(label, score), np.linspace(0, 1, 21)
    if np.isfinite(curve).all():
        lines = [("line", GREY, chance), ("line", BLUE, curve)]
        caption = "🔵 this model, ⚪ chance"
        if champion_score is not None:
            lines.insert(1, ("line", ORANGE, roc(label, champion_score)))
            caption = "🔵 this model, 🟠 the champion (hidden below it if they agree), ⚪ chance"
        drawn = chart(("false positive rate", "true positive rate"), "0 --> 1", lines)
        charts.append(f"**ROC**: {caption}.\n\n{drawn}")
    return charts


def _loss_chart(history: pl.DataFrame) -> str | None:
    """Return the chart of at most three losses by epoch; None if the model reports none."""
    if "epoch" not in history.columns or history.height < 2:
        return None
    epoch = history["epoch"].cast(pl.Float64).to_numpy()
    columns = [name for name in history.columns if name.endswith("loss") and history[name].dtype.is_numeric()]
    values = {name: history[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in columns[:3]}
    losses = {name: thinned(epoch, value) for name, value in values.items() if np.isfinite(value).any()}
    if not losses:
        return None
    colours = [BLUE, ORANGE, GREY]
    lines = [("line", colour, value) for colour, value in zip(colours, losses.values(), strict=False)]
    lowest = min(float(value.min()) for value in losses.values())
    highest = max(float(value.max()) for value in losses.values())
    ends = f"{epoch[0]:.0f} --> {epoch[-1]:.0f}"
    every = f"[{', '.join(f'{number:.0f}' for number in epoch)}]"  # names each epoch, so the axis shows no epoch 1.5
    domain = ends if len(epoch) > EPOCHS else every
    drawn = chart(("epoch", "loss"), domain, lines, low=lowest - 0.05 * (highest - lowest))
    caption = ", ".join(f"{mark} {code(name)}" for mark, name in zip("🔵🟠⚪", losses, strict=False))
    return f"**Training**: {caption}.\n\n{drawn}"
