"""`make report`: write `reports/report.md`, what a reviewer decides on, short enough for a comment."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from .. import config as settings
from ..adapters import actions, github
from ..adapters.actions import Event
from ..errors import UserError
from ..files import REPORT
from ..holdout import figures
from ..plots import captioned, training
from ..project import registered
from ..text import (
    DASH,
    MINUS,
    NAME,
    Section,
    code,
    counted,
    details,
    figure,
    fit,
    folded_table,
    prose,
    say,
    table,
    unbroken,
    within,
)
from ..verdict import MARKS, WORDS, Check, Comparison, Verdict
from . import MARKER
from .changes import Facts, changes_section, compare_stages, read_facts

MAX_REASONS, MAX_CHECKS = 20, 60
MAX_BYTES = 12_000  # of the reasons, and of the table of checks: the verdict's section is never shortened
VISIBLE_SLICES, FOLDED_SLICES = 10, 90  # rows in sight, and behind a click

BETTER, WORSE, NEITHER = "🟢", "🔴", "⚪"
LEGEND = f"{BETTER} shown better, {WORSE} shown worse, {NEITHER} neither."


def run() -> None:
    """Write the report; raise `UserError` if there is no verdict, or a file behind a good verdict is missing."""
    REPORT.write_text(compose(read_facts()))
    say(f"the report is in {REPORT}")


def compose(facts: Facts) -> str:
    """Return the report's Markdown; a section that fails gives the reason in its place."""
    sections = [verdict_section(facts)]
    for title, make in SECTIONS.items():
        try:
            section = make(facts)
        except UserError as error:
            section = Section(title, f"### {title.capitalize()}\n\nNot available: {prose(str(error))}", rank=2)
        if section:
            sections.append(section)
    return fit([*sections, origin_section(facts)])


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
    header = ["Metric", "This model:", "Guess:"]
    if comparisons:  # the change first, because a phone shows three columns
        header = ["Metric", "Change:", "This model:", "Champion:", f"{interval()} interval:", "Margin:", "Guess:"]
    champion = {} if facts.label is None or facts.champion_score is None else figures(facts.label, facts.champion_score)
    rows = []
    for name, value in model.items():
        cells = [figure(value)]
        if name in comparisons:
            cells = [*_comparison_cells(comparisons[name]), f"{comparisons[name].margin:.3g}"]
        elif comparisons:
            cells = [*_cells_without_comparison(value, champion.get(name)), DASH, DASH]
        rows.append([unbroken(f"{code(name)} {_arrow(name)}".strip()), *cells, figure(guess[name])])
    note = f"_Guess_ is a model that gives every row {registered().task.guess_words}."
    if comparisons:
        note = (
            f"{LEGEND} _Change_ is this model less the champion on the same rows; its interval comes from resampling "
            f"{settings.gates().bootstrap.unit}, each as a whole. _Margin_ is how much worse a model may be. {note}"
        )
    parts = ["### Metrics", table(header, rows), f"<sub>{note}</sub>", *_rates(facts)]
    return Section("metrics", "\n\n".join(parts), rank=1)


def slices_section(facts: Facts) -> Section | None:
    """Return the slices that the gate compared, worst first: ten in sight, more behind a click, the rest counted.

    If none is shown worse, and no check of slices blocks or warns, all of them are behind the click.
    """
    slices = [comparison for comparison in facts.verdict.comparisons if comparison.column is not None]
    if not slices:
        return None
    slices.sort(key=lambda comparison: comparison.worse_by, reverse=True)
    worse = sum(comparison.low > 0 for comparison in slices)
    intro = (
        f"{code(slices[0].metric)} on {counted(len(slices), 'slice')}, worst first; margin {slices[0].margin:.3g}. "
        f"Taken one by one, {worse or 'none'} {'are' if worse > 1 else 'is'} shown worse; "
        "the checks above judge all together."
    )
    header = ["Slice", "Change:", "Rows:", "This model:", "Champion:", f"{interval()} interval:"]
    rows = [_slice_row(comparison) for comparison in slices]
    title = f"### Slices\n\n{intro}\n\n"
    calm = all(check.result == "pass" for check in facts.verdict.checks if check.name.startswith("slices"))
    if not worse and calm:
        shown = rows[: VISIBLE_SLICES + FOLDED_SLICES]
        body = table(header, shown) + _remainder(len(slices) - len(shown))
        text = title + details("All slices" if len(shown) == len(slices) else f"The first {len(shown)} slices", body)
        return Section("slices", text, rank=3, short=title.strip())
    if len(slices) <= VISIBLE_SLICES:
        return Section("slices", title + table(header, rows), rank=3)
    text = title + folded_table(header, rows, VISIBLE_SLICES, FOLDED_SLICES, "The next {}")
    text += _remainder(len(slices) - VISIBLE_SLICES - FOLDED_SLICES)
    short = title + table(header, rows[:VISIBLE_SLICES]) + _remainder(len(slices) - VISIBLE_SLICES)
    return Section("slices", text, rank=3, short=short)


def plots_section(facts: Facts) -> Section | None:
    """Return the charts of the task and of the training that there are figures for; None without any."""
    plots = []
    if facts.label is not None and facts.score is not None:
        plots += registered().task.plots(facts.label, facts.score, facts.champion_score)
    if facts.history is not None and (losses := training(facts.history)):
        plots.append(losses)
    charts = [captioned(plot) for plot in plots if plot.comment]
    if not charts:
        return None
    rest = ", ".join(plot.title.lower() for plot in plots if not plot.comment)
    url = os.environ.get("PLOTS_URL")
    place = f"[the artifact of this run]({url})" if url and url.startswith("https://") else "`dvc pull reports/plots`"
    note = f"<sub>All plots as pictures{f', also {rest}' if rest else ''}: {place}.</sub>"
    return Section("plots", "\n\n".join(["### Plots", *charts, note]), rank=4)


def cost_section(facts: Facts) -> Section:
    """Return the minutes of training, as GitHub counted them, the stages that did not run, and the time to verdict."""
    stages = compare_stages(facts.base)
    # In CI the commit's own lock is from before the run: a stage that the lock already describes was restored, not run.
    since_commit = compare_stages(facts.event.commit) if facts.event.name else []
    as_main = {stage.name for stage in stages if stage.unchanged}
    restored = {stage.name for stage in since_commit if stage.unchanged}
    sources = {
        "as on main": [stage.name for stage in stages if stage.name in as_main],
        "trained before": [stage.name for stage in stages if stage.name in restored - as_main],
    }
    ready = [f"{', '.join(code(name) for name in names)} {why}" for why, names in sources.items() if names]
    count = sum(len(names) for names in sources.values())
    cache = f"{count} of {counted(len(stages), 'stage')} had nothing to do ({'; '.join(ready)})."
    if not count:
        cache = f"All {counted(len(stages), 'stage')} ran."
    return Section("cost", "\n\n".join(["### Cost and time", " ".join([*_times(facts), cache])]), rank=5)


def reading_section(facts: Facts) -> Section:
    """Return, behind a click, how to read the report."""
    task = registered().task
    lines = [
        "**The verdict** comes from `gates.yaml`. ⛔ blocks the merge and says what to do next; ⚠️ asks for a look; a "
        "person merges.",
        "**The champion** is the model on main. Both models are measured on the same rows, the _holdout_: the newest "
        "partition, which neither was trained on.",
        f"**{interval()} interval**: the change lies in it as far as chance goes. {BETTER} and {WORSE} mean that it "
        f"does not hold 0; {NEITHER} that these rows cannot tell the models apart.",
        "**A margin** is how much worse a model may be. The gate asks whether even the bad end of the interval is "
        "within it; with few days the interval is wide, and an equal model can be red.",
        "**Slices** are parts of the holdout. Of many, some look worse by chance; the checks `slices` correct that.",
        f"**Plots**: {task.plots_explained}",
    ]
    page = facts.event.page_link("docs/reviewer.md")
    body = "\n".join(f"- {line}" for line in lines) + f"\n\nMore: {page}."
    return Section("how to read this", details("New to this? How to read the report", body), rank=6)


def origin_section(facts: Facts) -> Section:
    """Return who made the model, and the commit, lock, champion and run that the report is about."""
    verdict = facts.verdict
    event = facts.event
    parts = [f"dvc.lock `{(verdict.lock or 'none')[:12]}`", f"champion {event.commit_link(verdict.champion)}"]
    if event.name and event.pull_request:
        head = f"head of {event.link(f'pull request {event.pull_request}', f'pull/{event.pull_request}')}"
        parts.insert(0, f"{head} {event.commit_link(event.commit)}")
    else:
        parts.insert(0, f"commit {event.commit_link(verdict.commit)}")
    if event.name and (run := os.environ.get("GITHUB_RUN_ID")):
        parts.append(event.link(f"run {run}", f"actions/runs/{run}"))
    provenance = next((check.why for check in verdict.checks if check.name == "provenance"), None)
    author = [f"**Who made the model**: {_with_link(provenance, event)}"] if provenance else []
    return Section("origin", "\n\n".join([*author, f"<sub>{' · '.join(parts)}</sub>"]), rank=0)


def interval() -> str:
    """Return the confidence of an interval made of two one-sided bounds, such as "90 %"."""
    return f"{200 * settings.gates().champion.confidence - 100:.3g} %"


def _summary(facts: Facts) -> str:
    verdict = facts.verdict
    link = facts.event.commit_link
    champion = f"the champion of {link(verdict.champion)}" if verdict.champion else "no champion yet"
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
    """Return the change with its mark, both models' figures, and the interval of the change."""
    metric = registered().all_metrics.get(comparison.metric)
    sign = -1 if metric and metric.greater_is_better else 1
    low, high = sorted([sign * comparison.low, sign * comparison.high])
    mark = BETTER if comparison.high < 0 else WORSE if comparison.low > 0 else NEITHER
    change = figure(sign * comparison.worse_by, sign=True)
    span = f"{figure(low, sign=True)} … {figure(high, sign=True)}"
    return [unbroken(f"{mark} {change}"), figure(comparison.challenger), figure(comparison.champion), unbroken(span)]


def _cells_without_comparison(value: float | None, champion: float | None) -> list[str]:
    """Return the change of a metric that the gate does not compare, and both models' figures."""
    change = None if value is None or champion is None else value - champion
    return [figure(change, sign=True), figure(value), figure(champion)]


def _arrow(name: str) -> str:
    metric = registered().all_metrics.get(name)
    return {True: "↑", False: "↓", None: ""}[metric.greater_is_better if metric else None]


def _slice_row(comparison: Comparison) -> list[str]:
    name = f"{code(comparison.column)} {code(comparison.value)}"
    change, *cells = _comparison_cells(comparison)
    return [unbroken(name), change, f"{comparison.rows:,}", *cells]


def _remainder(number: int) -> str:
    return f"\n\n… and {number:,} more in `reports/verdict.json`" if number > 0 else ""


def _with_link(sentence: str, event: Event) -> str:
    """Return a sentence as Markdown, in which the address of a run of this repository is a link."""
    before, address, run = sentence.rstrip(".").rpartition(f"{event.server}/{event.repository}/actions/runs/")
    if not (event.name and address and run.isdecimal()):
        return prose(sentence)
    return f"{prose(before)} {event.link(f'run {run}', f'actions/runs/{run}')}."


def _rates(facts: Facts) -> list[str]:
    """Return the task's table of answers on the holdout, if it has one."""
    if facts.label is None or facts.score is None:
        return []
    threshold = settings.gates().report.threshold
    rates = registered().task.rates(facts.label, facts.score, facts.champion_score, threshold)
    if rates is None:
        return []
    cells = [[unbroken(prose(cell, NAME)) for cell in row] for row in rates.rows]
    return [part for part in (rates.caption, table(rates.header, cells), rates.note) if part]


def _times(facts: Facts) -> list[str]:
    """Return the sentences on verdict and training; nothing outside a run of GitHub's."""
    repository, run = facts.event.repository, os.environ.get("GITHUB_RUN_ID")
    if not (facts.event.name and repository and run):
        return []
    try:
        jobs = _jobs(repository, run)
        return [*_time_to_verdict(jobs), *_training_time(facts, repository, run, jobs)]
    except UserError as error:
        return [f"GitHub did not say how long the training took ({prose(str(error), 200)})."]


def _jobs(repository: str, run: str) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = github.api(f"repos/{repository}/actions/runs/{run}/jobs?per_page=100")["jobs"]
    return jobs


def _time_to_verdict(jobs: list[dict[str, Any]]) -> list[str]:
    """Return the sentence on the time from the first job of the run until now."""
    starts = [datetime.fromisoformat(job["started_at"]) for job in jobs if job.get("started_at")]
    if not starts:
        return []
    return [f"Verdict after **{_minutes(datetime.now(UTC) - min(starts)):.0f} minutes**."]


def _training_time(facts: Facts, repository: str, run: str, jobs: list[dict[str, Any]]) -> list[str]:
    """Return the sentence on the job `train` of this run or, if nothing was trained, of the run that made the model."""
    here = _train_job(jobs)
    if here is None:
        return []
    if _has_run(here):
        return [f"Training took {_job_time(here)}."]
    nothing = "Nothing was trained in this run."
    address = actions.origin(facts.base).run or ""
    _, _, former = address.rpartition("/")
    if not former.isdecimal() or former == run:
        return [nothing]
    link = facts.event.link(f"run {former}", f"actions/runs/{former}")
    try:
        there = _train_job(_jobs(repository, former))
    except UserError:  # GitHub deletes old runs
        there = None
    if there is None or not _has_run(there):
        return [nothing, f"{link} made the model."]
    return [nothing, f"The training in {link} took {_job_time(there)}."]


def _train_job(jobs: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((job for job in reversed(jobs) if job["name"].split(" / ")[-1] == "train"), None)


def _has_run(job: dict[str, Any]) -> bool:
    return job.get("conclusion") != "skipped" and bool(job.get("started_at")) and bool(job.get("completed_at"))


def _job_time(job: dict[str, Any]) -> str:
    started, completed = (datetime.fromisoformat(job[key]) for key in ("started_at", "completed_at"))
    labels = job.get("labels") or []
    runner = ", ".join(code(label) for label in labels) or "a runner without labels"
    unit = "GPU minutes" if _on_gpu(labels) else "minutes, no GPU runner,"
    return f"**{_minutes(completed - started):.1f} {unit}** on {runner}"


def _minutes(duration: timedelta) -> float:
    return duration.total_seconds() / 60


def _on_gpu(labels: list[str]) -> bool:
    """Return if a runner has the labels of the repository variable GPU_RUNNER, which the workflow passes on."""
    try:
        variable = json.loads(os.environ.get("GPU_RUNNER") or "null")
    except json.JSONDecodeError:
        return False
    requested = [variable] if isinstance(variable, str) else variable
    return isinstance(requested, list) and bool(requested) and set(map(str, requested)) <= set(labels)


SECTIONS: dict[str, Callable[[Facts], Section | None]] = {
    "metrics": metrics_section,
    "slices": slices_section,
    "what changed": changes_section,
    "plots": plots_section,
    "cost": cost_section,
    "how to read this": reading_section,
}
