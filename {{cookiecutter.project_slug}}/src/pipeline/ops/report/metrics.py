"""What the model is worth beside the champion and a constant guess, and how sure that is."""

from ... import ml, settings
from ..gate.verdict import Comparison
from .facts import Facts
from .fit import Section
from .markdown import DASH, code, figure, table

SHOWN = {True: "🟢 better", False: "🔴 worse", None: "⚪ neither"}


def section(facts: Facts) -> Section | None:
    """Give one row a metric; the champion's columns only where it was compared."""
    if facts.measured is None:
        return None
    model, guess = facts.measured["model"], facts.measured["baseline"]
    duels = {found.metric: found for found in facts.verdict.comparisons if found.column is None}
    header = ["Metric", "This model:", "Champion:", "Change:", f"{interval()} interval:", "Shown", "Margin:", "Guess:"]
    if not duels:
        header = ["Metric", "This model:", "Guess:"]
    rows = []
    for name, value in model.items():
        compared = []
        if duels:
            compared = [*cells(duels[name]), figure(duels[name].margin)] if name in duels else [DASH] * 4 + [""]
        rows.append([f"{code(name)} {_arrow(name)}", figure(value), *compared, figure(guess[name])])
    note = "_Guess_ is a model that gives every row the share of positives seen in training."
    if duels:
        note = (
            "_Change_ is this model less the champion on the same rows; its interval comes from resampling whole days. "
            "_Margin_ is how much worse a model may be. " + note
        )
    return Section("metrics", f"### Metrics\n\n{table(header, rows)}\n\n<sub>{note}</sub>", rank=1)


def interval() -> str:
    """Name the two one-sided bounds taken together."""
    return f"{2 * settings.gates().champion.confidence - 1:.0%}".replace("%", " %")


def cells(found: Comparison) -> list[str]:
    """Give champion, change, its interval and what that shows."""
    sign = -1 if (known := ml.METRICS.get(found.metric)) and known.greater_is_better else 1
    low, high = sorted([sign * found.low, sign * found.high])
    shown = True if found.high < 0 else False if found.low > 0 else None
    change = figure(sign * found.worse_by, sign=True)
    return [figure(found.champion), change, f"{figure(low, sign=True)} … {figure(high, sign=True)}", SHOWN[shown]]


def _arrow(metric: str) -> str:
    direction = known.greater_is_better if (known := ml.METRICS.get(metric)) else None
    return {True: "↑", False: "↓", None: ""}[direction]
