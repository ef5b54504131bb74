"""Plots as data: the one source of a PNG file (`stages/evaluate.py`) and of a Mermaid chart, which GitHub draws itself.

Mermaid's chart has no legend and only evenly spaced points, so a chart in a comment is small, and the caption above it
names its lines and its y axis, whose title a phone would print over the figures. It prints labels over each other, so
points whose names are too long for it have numbers, and a line below the chart names them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from .text import NAME, label, prose

Floats = NDArray[np.float64]

BLUE, ORANGE, GREY = "#2f81f7", "#e16f24", "#8b949e"  # visible on white and on black
MARKS = {BLUE: "🔵", ORANGE: "🟠", GREY: "⚪"}
POINTS = 31  # of a line in a comment
ROOM, GAP = 56, 2  # characters that fit below a chart, and those between two labels
CHART = """```mermaid
---
config:
  xyChart: {{width: 500, height: 250, yAxis: {{showTitle: false, labelPadding: 12}}}}
  themeVariables:
    xyChart:
      backgroundColor: "transparent"
      plotColorPalette: "{colours}"
---
xychart-beta
  x-axis "{x}" {domain}
  y-axis "{y}" {low:.3f} --> {high:.3f}
{series}
```"""


@dataclass(frozen=True)
class Series:
    """A line or bars; `x` (ascending) and `y` have the same shape, and hold finite numbers."""

    name: str
    colour: str
    x: Floats
    y: Floats
    kind: Literal["line", "bar"] = "line"

    @classmethod
    def of(cls, name: str, colour: str, x: ArrayLike, y: ArrayLike, kind: Literal["line", "bar"] = "line") -> "Series":
        """Return a series of anything that numpy takes for numbers."""
        return cls(name, colour, np.asarray(x, np.float64), np.asarray(y, np.float64), kind)


@dataclass(frozen=True)
class Plot:
    """Series on two axes, the first drawn first.

    `name` is that of the PNG file. `ticks` names the points of the x axis, one for each point of every series. `low` is
    where the y axis begins. `comment` is false for a plot that only the file shows.
    """

    name: str
    title: str
    axes: tuple[str, str]
    series: tuple[Series, ...]
    ticks: Sequence[str] | None = None
    low: float = 0
    comment: bool = True

    @property
    def high(self) -> float:
        """The largest value of y, where the y axis ends."""
        return max(*(float(series.y.max()) for series in self.series), self.low + 0.001)


def mermaid(plot: Plot) -> str:
    """Return the plot as a Mermaid chart, and below it the names of its points if they do not fit into it."""
    first, values, names = plot.series[0].x, [series.y for series in plot.series], ""
    if plot.ticks is not None:
        labels = [label(tick) for tick in plot.ticks]
        if sum(map(len, labels)) + GAP * len(labels) > ROOM:
            labels = [str(number) for number in range(1, len(plot.ticks) + 1)]
            named = zip(labels, plot.ticks, strict=True)
            names = f"\n\n<sub>{' · '.join(f'**{number}** {prose(tick, NAME)}' for number, tick in named)}</sub>"
        domain = "[" + ", ".join(f'"{name}"' for name in labels) + "]"
    elif len(first) <= POINTS and all(np.array_equal(series.x, first) for series in plot.series):
        domain = f"[{', '.join(f'{x:g}' for x in first)}]"  # names each point, so that the axis shows no epoch 1.5
    else:
        low, high = min(series.x[0] for series in plot.series), max(series.x[-1] for series in plot.series)
        grid, domain = np.linspace(low, high, POINTS), f"{low:g} --> {high:g}"
        values = [np.interp(grid, series.x, series.y) for series in plot.series]
    drawn = zip(plot.series, values, strict=True)
    chart = CHART.format(
        colours=", ".join(series.colour for series in plot.series),
        x=label(plot.axes[0], NAME),
        y=label(plot.axes[1], NAME),
        domain=domain,
        low=plot.low,
        high=plot.high,
        series="\n".join(f"  {series.kind} [{', '.join(f'{y:.4f}' for y in ys)}]" for series, ys in drawn),
    )
    return chart + names


def captioned(plot: Plot) -> str:
    """Return the plot's title, the names of its y axis and its series, and its chart."""
    mixed = len({series.kind for series in plot.series}) > 1
    top_first = reversed(plot.series) if not mixed else plot.series
    names = [
        f"{MARKS[series.colour]} {prose(series.name, NAME)}{f' ({series.kind})' if mixed else ''}"
        for series in top_first
    ]
    axis = f", {prose(plot.axes[1], NAME)}" if plot.axes[1] != plot.title.lower() else ""
    return f"**{prose(plot.title, NAME)}**{axis}: {', '.join(names)}.\n\n{mermaid(plot)}"


def training(history: pl.DataFrame) -> Plot | None:
    """Return the losses by epoch of `reports/training.csv`, at most three; None if the model reports none."""
    if "epoch" not in history.columns or history.height < 2:
        return None
    epoch = history["epoch"].cast(pl.Float64).to_numpy()
    columns = [name for name in history.columns if name.endswith("loss") and history[name].dtype.is_numeric()]
    values = {name: history[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in columns[:3]}
    losses = {name: _without_gaps(epoch, value) for name, value in values.items() if np.isfinite(value).any()}
    if not losses:
        return None
    colours = (BLUE, ORANGE, GREY)
    series = [Series(name, colour, epoch, loss) for colour, (name, loss) in zip(colours, losses.items(), strict=False)]
    lowest, highest = (extreme(float(extreme(loss)) for loss in losses.values()) for extreme in (min, max))
    low = lowest - 0.05 * (highest - lowest)
    return Plot("training", "Training", ("epoch", "loss"), tuple(reversed(series)), low=low)


def _without_gaps(epoch: Floats, value: Floats) -> Floats:
    """Return a history with its gaps interpolated; both of shape (epochs,)."""
    finite = np.isfinite(value)
    return np.interp(epoch, epoch[finite], value[finite])
