"""The sections on the model: verdict, metrics, slices, cost and origin."""

import json
import os
from datetime import datetime
from itertools import islice
from typing import Any

from .. import config as settings
from ..adapters import github
from ..errors import UserError
from ..holdout import figures
from ..project import registered
from ..render import DASH, MINUS, counted, details, figure, table, unbroken, within
from ..text import NAME, code, prose
from ..verdict import MARKS, WORDS, Check, Comparison, Verdict
from .changes import compare_stages
from .facts import Facts
from .layout import Section, folded_table

MARKER = "<!-- pipeline report -->"  # identifies our comment, whoever sent it last
MAX_REASONS, MAX_CHECKS = 20, 60
MAX_BYTES = 12_000  # of the reasons, and of the table of checks: the verdict's section is never shortened
VISIBLE_SLICES, FOLDED_SLICES = 10, 90  # rows in sight, and behind a click

BETTER, WORSE, NEITHER = "🟢", "🔴", "⚪"
LEGEND = f"{BETTER} shown better, {WORSE} shown worse, {NEITHER} neither."


def verdict_section(facts: Facts) -> Section:
    """Return marker and verdict, the sentence of each check that did not pass, and all checks behind a click."""
    verdict = facts.verdict
    reasons = [check for result in ("block", "warn") for check in verdict.checks if check.result == result]
    head = "\n".join([MARKER, f"## {MARKS[verdict.outcome]} The model {WORDS[verdict.outcome]}", "", _summary(facts)])
    lines = (f"- {MARKS[check.result]} **{prose(check.name, NAME)}**: {prose(check.why)}" for check in reasons)
    bullets = within(MAX_BYTES, islice(lines, MAX_REASONS))
    if len(reasons) > len(bullets):
        bullets.append(f"- … and {len(reasons) - len(bullets)} more in `reports/verdict.json`")
    parts = [head, "\n".join(bullets), _all_checks(verdict.checks)]
    return Section("verdict", "\n\n".join(part for part in parts if part), rank=0)


def metrics_section(facts: Facts) -> Section | None:
    """Return a table with a row for each metric; with the champion's columns if the gate compared the two models."""
    if facts.measured is None:
        return None
    model, guess = facts.measured["model"], facts.measured["baseline"]
    comparisons = {each.metric: each for each in facts.verdict.comparisons if each.column is None}
    against = ["Champion:", "Change:", f"{interval()} interval:", "Margin:"] if comparisons else []
    header = ["Metric", "This model:", *against, "Guess:"]
    champion = {} if facts.label is None or facts.champion_score is None else figures(facts.label, facts.champion_score)
    rows = []
    for name, value in model.items():
        compared = []
        if name in comparisons:
            compared = [*_comparison_cells(comparisons[name]), f"{comparisons[name].margin:g}"]
        elif comparisons:
            compared = [*_cells_without_comparison(value, champion.get(name)), DASH, DASH]
        rows.append([unbroken(f"{code(name)} {_arrow(name)}".strip()), figure(value), *compared, figure(guess[name])])
    note = f"_Guess_ is a model that gives every row {registered().task.guess_words}."
    if comparisons:
        note = (
            f"{LEGEND} _Change_ is this model less the champion on the same rows; its interval comes from resampling "
            f"{settings.gates().bootstrap.unit}. _Margin_ is how much worse a model may be. {note}"
        )
    return Section("metrics", f"### Metrics\n\n{table(header, rows)}\n\n<sub>{note}</sub>", rank=1)


def slices_section(facts: Facts) -> Section | None:
    """Return the slices that the gate compared, worst first: ten in sight, more behind a click, the rest counted."""
    slices = [comparison for comparison in facts.verdict.comparisons if comparison.column is not None]
    if not slices:
        return None
    slices.sort(key=lambda comparison: comparison.worse_by, reverse=True)
    worse = sum(comparison.low > 0 for comparison in slices)
    intro = (
        f"{code(slices[0].metric)} on {counted(len(slices), 'slice')}, worst first; margin {slices[0].margin:g}. "
        f"Taken one by one, {worse} {'is' if worse == 1 else 'are'} shown worse; the checks above judge all together."
    )
    header = ["Slice", "Rows:", "This model:", "Champion:", "Change:", f"{interval()} interval:"]
    rows = [_slice_row(comparison) for comparison in slices]
    title = f"### Slices\n\n{intro}\n\n"
    if len(slices) <= VISIBLE_SLICES:
        return Section("slices", title + table(header, rows), rank=3)
    text = title + folded_table(header, rows, VISIBLE_SLICES, FOLDED_SLICES, "The next {}")
    text += _remainder(len(slices) - VISIBLE_SLICES - FOLDED_SLICES)
    short = title + table(header, rows[:VISIBLE_SLICES]) + _remainder(len(slices) - VISIBLE_SLICES)
    return Section("slices", text, rank=3, short=short)


def cost_section(facts: Facts) -> Section:
    """Return the minutes of the job `train`, as GitHub counted them, and the stages that the cache saved."""
    stages = compare_stages(facts.base)
    # In CI the commit's own lock is from before the run: a stage that the lock already describes was restored, not run.
    since_commit = compare_stages(facts.event.commit) if facts.event.name else []
    restored = {stage.name for stage in (*stages, *since_commit) if stage.unchanged}
    saved = [stage.name for stage in stages if stage.name in restored]
    cache = f"The cache saved {len(saved)} of {counted(len(stages), 'stage')}"
    cache += f" ({', '.join(code(name) for name in saved)})." if saved else "."
    return Section("cost", "\n\n".join(["### Cost", " ".join([*_training_time(facts), cache])]), rank=5)


def origin_section(facts: Facts) -> Section:
    """Return who made the model, and the commit, lock, champion and run that the report is about."""
    verdict, event = facts.verdict, facts.event
    parts = [
        f"Commit `{(verdict.commit or 'none')[:12]}`",
        f"dvc.lock `{(verdict.lock or 'none')[:12]}`",
        f"champion `{(verdict.champion or 'none')[:12]}`",
    ]
    if event.name and (run := os.environ.get("GITHUB_RUN_ID")):
        parts.append(f"[run {run}]({event.server}/{event.repository}/actions/runs/{run})")
    provenance = next((check.why for check in verdict.checks if check.name == "provenance"), None)
    author = [f"**Who made the model**: {prose(provenance)}"] if provenance else []
    return Section("origin", "\n\n".join([*author, f"<sub>{' · '.join(parts)}</sub>"]), rank=0)


def interval() -> str:
    """Return the confidence of an interval made of two one-sided bounds, such as "90 %"."""
    return f"{200 * settings.gates().champion.confidence - 100:.3g} %"


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
    parts = [f"{numbers[result]} {word}" for result, word in words.items() if numbers[result]]
    return f"{counted(len(verdict.checks), 'check')}: {', '.join(parts)}."


def _all_checks(checks: list[Check]) -> str:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}".replace("-", MINUS)

    rows = (
        [prose(check.name, NAME), MARKS[check.result], number(check.figure), number(check.limit), prose(check.why, 300)]
        for check in checks[:MAX_CHECKS]
    )
    header, *lines = table(["Check", "", "Figure:", "Limit:", "Why"], rows).split("\n")
    return details(f"All {counted(len(checks), 'check')}", "\n".join([header, *within(MAX_BYTES, lines)]))


def _comparison_cells(comparison: Comparison) -> list[str]:
    """Return the champion's figure, the change with its mark, and the interval of the change."""
    metric = registered().all_metrics.get(comparison.metric)
    sign = -1 if metric and metric.greater_is_better else 1
    low, high = sorted([sign * comparison.low, sign * comparison.high])
    mark = BETTER if comparison.high < 0 else WORSE if comparison.low > 0 else NEITHER
    change = figure(sign * comparison.worse_by, sign=True)
    span = f"{figure(low, sign=True)} … {figure(high, sign=True)}"
    return [figure(comparison.champion), unbroken(f"{mark} {change}"), unbroken(span)]


def _cells_without_comparison(value: float | None, champion: float | None) -> list[str]:
    """Return the champion's figure and the change of a metric that the gate does not compare."""
    if value is None or champion is None:
        return [figure(champion), DASH]
    return [figure(champion), figure(value - champion, sign=True)]


def _arrow(name: str) -> str:
    metric = registered().all_metrics.get(name)
    return {True: "↑", False: "↓", None: ""}[metric.greater_is_better if metric else None]


def _slice_row(comparison: Comparison) -> list[str]:
    name = f"{code(comparison.column)} {code(comparison.value)}"
    return [name, f"{comparison.rows:,}", figure(comparison.challenger), *_comparison_cells(comparison)]


def _remainder(number: int) -> str:
    return f"\n\n… and {number:,} more in `reports/verdict.json`" if number > 0 else ""


def _training_time(facts: Facts) -> list[str]:
    """Return the sentence on the job `train`; nothing outside a run of GitHub's, or if the run has no such job."""
    repository, run = facts.event.repository, os.environ.get("GITHUB_RUN_ID")
    if not (facts.event.name and repository and run):
        return []
    try:
        jobs = github.api(f"repos/{repository}/actions/runs/{run}/jobs?per_page=100")["jobs"]
    except UserError as error:
        return [f"GitHub did not say how long the training took ({prose(str(error), 200)})."]
    return [_job_time(job) for job in jobs if job["name"].split(" / ")[-1] == "train"][-1:]


def _job_time(job: dict[str, Any]) -> str:
    if job.get("conclusion") == "skipped" or not job.get("started_at") or not job.get("completed_at"):
        return "Nothing was trained in this run: 0 minutes."
    started, completed = (datetime.fromisoformat(job[key]) for key in ("started_at", "completed_at"))
    minutes, labels = (completed - started).total_seconds() / 60, job.get("labels") or []
    runner = ", ".join(code(label) for label in labels) or "a runner without labels"
    unit = "GPU minutes" if _on_gpu(labels) else "minutes, no GPU runner,"
    return f"Training took **{minutes:.1f} {unit}** on {runner}."


def _on_gpu(labels: list[str]) -> bool:
    """Return if a runner has the labels of the repository variable GPU_RUNNER, which the workflow passes on."""
    try:
        variable = json.loads(os.environ.get("GPU_RUNNER") or "null")
    except json.JSONDecodeError:
        return False
    requested = [variable] if isinstance(variable, str) else variable
    return isinstance(requested, list) and bool(requested) and set(map(str, requested)) <= set(labels)
