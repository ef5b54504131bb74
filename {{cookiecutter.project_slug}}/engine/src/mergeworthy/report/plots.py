"""Plots as Mermaid charts inside the comment: GitHub draws them itself, so nothing is uploaded, to nobody.

Mermaid's chart has no legend and evenly spaced points only: each is small and its caption says which line is which.
"""

import numpy as np
import polars as pl

from ..render.charts import BLUE, GREY, ORANGE, chart
from ..render.markdown import code
from . import curves
from .curves import Bools, Floats
from .facts import Facts
from .fit import Section


def section(facts: Facts) -> Section | None:
    """Calibration, ROC and the loss while training, as far as there are figures for them."""
    parts = [] if facts.label is None or facts.score is None else _scored(facts.label, facts.score, facts.rival)
    if facts.history is not None and (loss := _training(facts.history)):
        parts.append(loss)
    if not parts:
        return None
    pictures = "<sub>The same in full, with the scores by label: `dvc pull reports/plots`.</sub>"
    return Section("plots", "\n\n".join(["### Plots", *parts, pictures]), rank=4)


def _scored(label: Bools, score: Floats, other: Floats | None) -> list[str]:
    predicted, observed = curves.calibration(label, score)
    tenths = f"[{', '.join(str(number + 1) for number in range(len(predicted)))}]"
    bars = chart(
        ("tenths of the rows, by score", "share of positives"),
        tenths,
        [("bar", BLUE, observed), ("line", ORANGE, predicted)],
    )
    parts = [f"**Calibration**: 🔵 bars are what happened, the 🟠 line what was predicted.\n\n{bars}"]
    curve, chance = curves.roc(label, score), np.linspace(0, 1, 21)
    if np.isfinite(curve).all():
        lines = [("line", GREY, chance), ("line", BLUE, curve)]
        caption = "🔵 this model, ⚪ a coin"
        if other is not None:
            lines.insert(1, ("line", ORANGE, curves.roc(label, other)))
            caption = "🔵 this model, 🟠 the champion (under it where they agree), ⚪ a coin"
        drawn = chart(("false positive rate", "true positive rate"), "0 --> 1", lines)
        parts.append(f"**ROC**: {caption}.\n\n{drawn}")
    return parts


def _training(history: pl.DataFrame) -> str | None:
    """Losses by epoch, of three columns at most; None where the model reports none."""
    if "epoch" not in history.columns or history.height < 2:
        return None
    epoch = history["epoch"].cast(pl.Float64).to_numpy()
    columns = [name for name in history.columns if name.endswith("loss") and history[name].dtype.is_numeric()]
    values = {name: history[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in columns[:3]}
    losses = {name: curves.thinned(epoch, value) for name, value in values.items() if np.isfinite(value).any()}
    if not losses:
        return None
    colours = [BLUE, ORANGE, GREY]
    lines = [("line", colour, value) for colour, value in zip(colours, losses.values(), strict=False)]
    lowest = min(float(value.min()) for value in losses.values())
    highest = max(float(value.max()) for value in losses.values())
    ends = f"{epoch[0]:.0f} --> {epoch[-1]:.0f}"
    every = f"[{', '.join(f'{number:.0f}' for number in epoch)}]"  # no epoch 1.5 on the axis while all can be named
    domain = ends if len(epoch) > curves.EPOCHS else every
    drawn = chart(("epoch", "loss"), domain, lines, low=lowest - 0.05 * (highest - lowest))
    caption = ", ".join(f"{mark} {code(name)}" for mark, name in zip("🔵🟠⚪", losses, strict=False))
    return f"**Training**: {caption}.\n\n{drawn}"
