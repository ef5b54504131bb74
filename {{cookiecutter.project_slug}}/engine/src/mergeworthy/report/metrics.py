"""What the model is worth beside the champion and a constant guess, and how sure that is."""

from .. import config as settings
from ..holdout import figures
from ..project import registered
from ..render.markdown import DASH, code, figure, table, unbroken
from ..verdict import Comparison
from .facts import Facts
from .fit import Section

BETTER, WORSE, NEITHER = "🟢", "🔴", "⚪"

LEGEND = f"{BETTER} shown better, {WORSE} shown worse, {NEITHER} neither."


def section(facts: Facts) -> Section | None:
    """Give one row a metric; the champion's columns only where it was compared."""
    if facts.measured is None:
        return None
    model, guess = facts.measured["model"], facts.measured["baseline"]
    duels = {found.metric: found for found in facts.verdict.comparisons if found.column is None}
    against = ["Champion:", "Change:", f"{interval()} interval:", "Margin:"] if duels else []
    header = ["Metric", "This model:", *against, "Guess:"]
    champion = {} if facts.label is None or facts.rival is None else figures(facts.label, facts.rival)
    rows = []
    for name, value in model.items():
        compared = []
        if name in duels:
            compared = [*cells(duels[name]), f"{duels[name].margin:g}"]
        elif duels:
            compared = [*_unjudged(value, champion.get(name)), DASH, DASH]
        rows.append([unbroken(f"{code(name)} {_arrow(name)}".strip()), figure(value), *compared, figure(guess[name])])
    note = "_Guess_ is a model that gives every row the share of positives seen in training."
    if duels:
        note = (
            f"{LEGEND} _Change_ is this model less the champion on the same rows; its interval comes from resampling "
            f"whole days. _Margin_ is how much worse a model may be. {note}"
        )
    return Section("metrics", f"### Metrics\n\n{table(header, rows)}\n\n<sub>{note}</sub>", rank=1)


def interval() -> str:
    """Name the two one-sided bounds taken together."""
    return f"{200 * settings.gates().champion.confidence - 100:.3g} %"


def cells(found: Comparison) -> list[str]:
    """Give champion, change with what it shows, and its interval."""
    sign = -1 if (known := registered().all_metrics.get(found.metric)) and known.greater_is_better else 1
    low, high = sorted([sign * found.low, sign * found.high])
    mark = BETTER if found.high < 0 else WORSE if found.low > 0 else NEITHER
    change, span = figure(sign * found.worse_by, sign=True), f"{figure(low, sign=True)} … {figure(high, sign=True)}"
    return [figure(found.champion), unbroken(f"{mark} {change}"), unbroken(span)]


def _unjudged(value: float | None, champion: float | None) -> list[str]:
    if value is None or champion is None:
        return [figure(champion), DASH]
    return [figure(champion), figure(value - champion, sign=True)]


def _arrow(metric: str) -> str:
    direction = known.greater_is_better if (known := registered().all_metrics.get(metric)) else None
    return {True: "↑", False: "↓", None: ""}[direction]
