"""A replay for people: `reports/replay.md` with a table and Mermaid plots, the same as PNG, and the figures as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ... import config as settings
from ...render.charts import BLUE, GREY, ORANGE, chart, points
from ...render.markdown import code, counted, figure, prose, table
from .month import WAYS, Month, Way

COLOURS = (GREY, ORANGE, BLUE)  # in the order of ORDER, the last drawn on top
ORDER: tuple[Way, ...] = ("never", "every", "decided")
LEGEND = "🔵 as decided, 🟠 with every partition, ⚪ never retrained."
Floats = NDArray[np.float64]


def write(path: Path, months: Sequence[Month]) -> None:
    """Write `path` with the suffixes .json, .md and .png."""
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps([month.model_dump() for month in months], indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(months))
    draw(path.with_suffix(".png"), months)


def summary(months: Sequence[Month]) -> str:
    """Give the means in a sentence."""
    merged = sum(month.merged for month in months)
    told = [
        f"mean {metric}: " + ", ".join(f"{figure(_mean(months, way, metric))} {said}" for way, said in WAYS.items())
        for metric in _metrics()
    ]
    since = f"from {months[min(1, len(months) - 1)].partition} on"
    return f"{counted(merged, 'retraining')} merged in {counted(len(months), 'partition')}; {since} {'; '.join(told)}."


def markdown(months: Sequence[Month]) -> str:
    """Give the means, the table and a plot for each metric."""
    header = ["Partition", "Decision", *(f"{metric}, {said}:" for metric in _metrics() for said in WAYS.values())]
    rows = [
        [
            code(m.partition),
            prose(m.decision),
            *(figure(m.figures[way][metric]) for metric in _metrics() for way in WAYS),
        ]
        for m in months
    ]
    means = [
        "mean, without the first",
        "",
        *(figure(_mean(months, way, metric)) for metric in _metrics() for way in WAYS),
    ]
    how = "Each partition is scored with the models that were there before it."
    reasons = "\n".join(f"- {code(month.partition)} {prose(month.why)}" for month in months)
    plots = [_mermaid(months, metric) for metric in _metrics()]
    parts = ["## The replay", prose(summary(months)), how, table(header, [*rows, means]), LEGEND, *plots]
    return "\n\n".join([*parts, "### Why", reasons]) + "\n"


def draw(path: Path, months: Sequence[Month]) -> None:
    """Draw a panel for each metric."""
    from matplotlib.figure import Figure

    names, metrics = [month.partition for month in months], _metrics()
    page = Figure(figsize=(8, 3 * len(metrics)), dpi=100, layout="constrained")
    for axes, metric in zip(np.atleast_1d(page.subplots(len(metrics), sharex=True)), metrics, strict=True):
        for way, colour in zip(ORDER, COLOURS, strict=True):
            axes.plot(names, _line(months, way, metric), color=colour, marker="o", markersize=4, label=WAYS[way])
        for month in (month for month in months if month.merged):
            axes.axvline(month.partition, color=BLUE, linestyle=":", linewidth=1)
        axes.set(ylabel=metric)
        axes.grid(alpha=0.3)
    axes.set(xlabel="partition; dotted: after it a retraining was merged")
    axes.legend(frameon=False, ncols=len(ORDER))
    page.savefig(path, metadata={"Software": None})


def _mermaid(months: Sequence[Month], metric: str) -> str:
    """Draw the partitions on which the metric can be told."""
    months = [month for month in months if None not in [month.figures[way][metric] for way in WAYS]]
    if not months:
        return f"{metric} cannot be told on any partition."
    lines = [("line", colour, _line(months, way, metric)) for way, colour in zip(ORDER, COLOURS, strict=True)]
    low = min(float(values.min()) for _, _, values in lines)
    return chart(("partition", metric), points(month.partition for month in months), lines, low=low * 0.98)


def _metrics() -> list[str]:
    return list(settings.gates().drift.performance.margins)


def _line(months: Sequence[Month], way: Way, metric: str) -> Floats:
    return np.array([month.figures[way][metric] for month in months], dtype=np.float64)


def _mean(months: Sequence[Month], way: Way, metric: str) -> float | None:
    """On the first partition all ways have the same model yet: it does not count where there are more."""
    told = _line(months[1:] or months, way, metric)
    return float(told[np.isfinite(told)].mean()) if np.isfinite(told).any() else None
