"""The sections on the model: verdict, metrics, slices, cost, origin and plots."""

import json
import os
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .. import config as settings
from ..adapters import github
from ..errors import UserError
from ..holdout import figures
from ..project import registered
from ..render import BLUE, DASH, GREY, MINUS, ORANGE, chart, counted, details, figure, table, unbroken, within
from ..text import NAME, code, prose
from ..verdict import MARKS, WORDS, Check, Comparison, Verdict
from . import changes
from .facts import Facts, Section

# DOC report.verdict: The first thing to be read: may this be merged, and if not, why.

MARKER = "<!-- pipeline report -->"  # how we know our comment, whoever sent it last
REASONS, CHECKS = 20, 60  # shown at most
BUDGET = 12_000  # bytes, for either


def verdict_section(facts: Facts) -> Section:
    """Marker, verdict, and the sentence of each check that is not green; all checks behind a click."""
    verdict = facts.verdict
    reasons = [check for result in ("block", "warn") for check in verdict.checks if check.result == result]
    head = "\n".join([MARKER, f"## {MARKS[verdict.outcome]} The model {WORDS[verdict.outcome]}", "", _summary(facts)])
    bullets = within(
        BUDGET,
        (f"- {MARKS[check.result]} **{prose(check.name, NAME)}**: {prose(check.why)}" for check in reasons[:REASONS]),
    )
    if len(reasons) > len(bullets):
        bullets.append(f"- … and {len(reasons) - len(bullets)} more in `reports/verdict.json`")
    parts = [head, "\n".join(bullets), _all(verdict.checks)]
    return Section("verdict", "\n\n".join(part for part in parts if part), rank=0)


def _summary(facts: Facts) -> str:
    verdict = facts.verdict
    champion = f"the champion of `{verdict.champion[:12]}`" if verdict.champion else "no champion yet"
    measured = facts.measured or {}
    rows = f", {measured['rows']:,} labelled rows" if measured else ""
    holdout = f"**{prose(verdict.partition)}**{rows}" if verdict.partition else "unknown"
    return f"{_tally(verdict)} Holdout {holdout}; against {champion}."


def _tally(verdict: Verdict) -> str:
    numbers = {result: sum(check.result == result for check in verdict.checks) for result in ("pass", "warn", "block")}
    words = {"block": "blocking", "warn": "warning", "pass": "passed"}
    if numbers["pass"] == len(verdict.checks):
        return f"All {counted(len(verdict.checks), 'check')} passed."
    told = [f"{numbers[result]} {word}" for result, word in words.items() if numbers[result]]
    return f"{counted(len(verdict.checks), 'check')}: {', '.join(told)}."


def _all(checks: list[Check]) -> str:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}".replace("-", MINUS)

    rows = (
        [prose(check.name, NAME), MARKS[check.result], number(check.figure), number(check.limit), prose(check.why, 300)]
        for check in checks[:CHECKS]
    )
    header, *lines = table(["Check", "", "Figure:", "Limit:", "Why"], rows).split("\n")
    return details(f"All {counted(len(checks), 'check')}", "\n".join([header, *within(BUDGET, lines)]))


# DOC report.metrics: What the model is worth beside the champion and a constant guess, and how sure that is.

BETTER, WORSE, NEITHER = "🟢", "🔴", "⚪"

LEGEND = f"{BETTER} shown better, {WORSE} shown worse, {NEITHER} neither."


def metrics_section(facts: Facts) -> Section | None:
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


# DOC report.slices: Where the model lost against the champion: the worst parts of the holdout first.

FIRST, MORE = 10, 90  # slices shown, and behind a click


def slices_section(facts: Facts) -> Section | None:
    """Put the worst ten in sight, the next behind a click, the rest counted."""
    found = [comparison for comparison in facts.verdict.comparisons if comparison.column is not None]
    if not found:
        return None
    found.sort(key=lambda comparison: comparison.worse_by, reverse=True)
    worse = sum(comparison.low > 0 for comparison in found)
    intro = (
        f"{code(found[0].metric)} on {counted(len(found), 'slice')}, worst first; margin {found[0].margin:g}. "
        f"Taken one by one, {worse} {'is' if worse == 1 else 'are'} shown worse; the checks above judge all together."
    )
    text = f"### Slices\n\n{intro}\n\n{_table(found[:FIRST])}"
    more, rest = found[FIRST : FIRST + MORE], len(found) - FIRST - MORE
    if not more:
        return Section("slices", text, rank=3)
    tail = f"\n\n… and {rest:,} more in `reports/verdict.json`" if rest > 0 else ""
    short = f"{text}\n\n… and {len(found) - FIRST:,} more in `reports/verdict.json`"
    return Section("slices", f"{text}\n\n{details(f'The next {len(more)}', _table(more))}{tail}", rank=3, short=short)


def _table(found: list[Comparison]) -> str:
    header = ["Slice", "Rows:", "This model:", "Champion:", "Change:", f"{interval()} interval:"]
    return table(header, [[_name(one), f"{one.rows:,}", figure(one.challenger), *cells(one)] for one in found])


def _name(one: Comparison) -> str:
    return f"{code(one.column)} {code(one.value)}"


# DOC report.cost: What the run took: minutes of the machine that trained, as GitHub counted them, and what the cache
# saved.


def cost_section(facts: Facts) -> Section:
    """Tell of the job `train` where there is one, and the stages that needed no run."""
    found = changes.compared(facts.base)
    # In CI the commit's own lock is from before the run: what it names already was restored, not run.
    before = changes.compared(facts.event.commit) if facts.event.name else []
    restored = {stage.name for stage in (*found, *before) if stage.unchanged}
    saved = [stage.name for stage in found if stage.name in restored]
    cache = f"The cache saved {len(saved)} of {counted(len(found), 'stage')}"
    cache += f" ({', '.join(code(name) for name in saved)})." if saved else "."
    return Section("cost", "\n\n".join(["### Cost", " ".join([*_cost_training(facts), cache])]), rank=5)


def _cost_training(facts: Facts) -> list[str]:
    """Give the sentence on the job, if this is a run of GitHub's."""
    repository, run = facts.event.repository, os.environ.get("GITHUB_RUN_ID")
    if not (facts.event.name and repository and run):
        return []
    try:
        jobs = github.api(f"repos/{repository}/actions/runs/{run}/jobs?per_page=100")["jobs"]
    except UserError as error:
        return [f"GitHub did not say how long the training took ({prose(str(error), 200)})."]
    return [_sentence(job) for job in jobs if job["name"].split(" / ")[-1] == "train"][-1:]


def _sentence(job: dict[str, Any]) -> str:
    if job.get("conclusion") == "skipped" or not job.get("started_at") or not job.get("completed_at"):
        return "Nothing was trained in this run: 0 minutes."
    started, completed = (datetime.fromisoformat(job[key]) for key in ("started_at", "completed_at"))
    minutes, labels = (completed - started).total_seconds() / 60, job.get("labels") or []
    where = ", ".join(code(label) for label in labels) or "a runner without labels"
    kind = "GPU minutes" if _on_gpu(labels) else "minutes, no GPU runner,"
    return f"Training took **{minutes:.1f} {kind}** on {where}."


def _on_gpu(labels: list[str]) -> bool:
    """Tell whether these are the labels of the repository variable GPU_RUNNER, which the workflow hands over."""
    try:
        wanted = json.loads(os.environ.get("GPU_RUNNER") or "null")
    except json.JSONDecodeError:
        return False
    wanted = [wanted] if isinstance(wanted, str) else wanted
    return isinstance(wanted, list) and bool(wanted) and set(map(str, wanted)) <= set(labels)


# DOC report.origin: Where the report comes from, in one line: what it is about can be found again.


def origin_section(facts: Facts) -> Section:
    """Return commit, lock, champion and run, and who made the model."""
    verdict, event = facts.verdict, facts.event
    parts = [
        f"Commit `{(verdict.commit or 'none')[:12]}`",
        f"dvc.lock `{(verdict.lock or 'none')[:12]}`",
        f"champion `{(verdict.champion or 'none')[:12]}`",
    ]
    if event.name and (run := os.environ.get("GITHUB_RUN_ID")):
        parts.append(f"[run {run}]({event.server}/{event.repository}/actions/runs/{run})")
    made = next((check.why for check in verdict.checks if check.name == "provenance"), None)
    who = [f"**Who made the model**: {prose(made)}"] if made else []
    return Section("origin", "\n\n".join([*who, f"<sub>{' · '.join(parts)}</sub>"]), rank=0)


# DOC report.curves: The few numbers that a plot in a comment is made of.

EPOCHS = 30  # shown of a history
Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]


def calibration(label: Bools, score: Floats, bins: int = 10) -> tuple[Floats, Floats]:
    """Give mean score and share of positives in bins of equal mass, lowest scores first; each of shape (bins,)."""
    groups = np.array_split(np.argsort(score, kind="stable"), min(bins, len(score)))
    predicted, observed = (np.array([values[group].mean() for group in groups]) for values in (score, label))
    return predicted, observed


def roc(label: Bools, score: Floats, points: int = 21) -> Floats:
    """Give the true positive rate at false positive rates from 0 to 1, evenly spaced, shape (points,).

    NaN where there is only one class.
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
    """Give a history at no more than so many evenly spaced epochs, gaps bridged; shape (points,) or fewer."""
    known = np.isfinite(value)
    return np.interp(np.linspace(epoch[0], epoch[-1], min(points, len(epoch))), epoch[known], value[known])


# DOC report.plots: Plots as Mermaid charts inside the comment: GitHub draws them itself, so nothing is uploaded, to
# nobody. Mermaid's chart has no legend and evenly spaced points only: each is small and its caption says which line
# is which.


def plots_section(facts: Facts) -> Section | None:
    """Calibration, ROC and the loss while training, as far as there are figures for them."""
    parts = [] if facts.label is None or facts.score is None else _scored(facts.label, facts.score, facts.rival)
    if facts.history is not None and (loss := _plots_training(facts.history)):
        parts.append(loss)
    if not parts:
        return None
    pictures = "<sub>The same in full, with the scores by label: `dvc pull reports/plots`.</sub>"
    return Section("plots", "\n\n".join(["### Plots", *parts, pictures]), rank=4)


def _scored(label: Bools, score: Floats, other: Floats | None) -> list[str]:
    predicted, observed = calibration(label, score)
    tenths = f"[{', '.join(str(number + 1) for number in range(len(predicted)))}]"
    bars = chart(
        ("tenths of the rows, by score", "share of positives"),
        tenths,
        [("bar", BLUE, observed), ("line", ORANGE, predicted)],
    )
    parts = [f"**Calibration**: 🔵 bars are what happened, the 🟠 line what was predicted.\n\n{bars}"]
    curve, chance = roc(label, score), np.linspace(0, 1, 21)
    if np.isfinite(curve).all():
        lines = [("line", GREY, chance), ("line", BLUE, curve)]
        caption = "🔵 this model, ⚪ a coin"
        if other is not None:
            lines.insert(1, ("line", ORANGE, roc(label, other)))
            caption = "🔵 this model, 🟠 the champion (under it where they agree), ⚪ a coin"
        drawn = chart(("false positive rate", "true positive rate"), "0 --> 1", lines)
        parts.append(f"**ROC**: {caption}.\n\n{drawn}")
    return parts


def _plots_training(history: pl.DataFrame) -> str | None:
    """Losses by epoch, of three columns at most; None where the model reports none."""
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
    every = f"[{', '.join(f'{number:.0f}' for number in epoch)}]"  # no epoch 1.5 on the axis while all can be named
    domain = ends if len(epoch) > EPOCHS else every
    drawn = chart(("epoch", "loss"), domain, lines, low=lowest - 0.05 * (highest - lowest))
    caption = ", ".join(f"{mark} {code(name)}" for mark, name in zip("🔵🟠⚪", losses, strict=False))
    return f"**Training**: {caption}.\n\n{drawn}"
