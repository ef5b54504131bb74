"""The decision for people: `reports/drift.md`, the text of a retraining pull request, and Evidently's HTML page.

Evidently renders the bins on which the decision was made, with its own figure for each column. It gets counts,
not rows, so the page costs the same for a thousand rows as for ten million, and shows what was compared. Drawing the
columns is what costs, so the page has only the columns that moved most; `reports/drift.json` has all of them.
"""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..plots import BLUE, GREY, ORANGE, Plot, Series, captioned, mermaid
from ..render import DASH, counted, details, figure, table
from ..text import NAME, code, label, prose, say
from .decision import Column, Decision, Log, Rule

MARKS = {"quiet": "✅", "retrain": "🔁", "broken": "⛔"}
TITLES = {"quiet": "The champion stays", "retrain": "A new model is called for", "broken": "The data is broken"}
MAX_PARTITIONS, MAX_RULES, MAX_STRETCHES = 12, 60, 24  # in the Markdown
MAX_COLUMNS, MAX_CHARTS, MAX_BINS = 8, 3, 12

METHOD = "jensenshannon"  # the distance, by Evidently's name
HTML_ROWS, HTML_COLUMNS = 10_000, 20  # rows as which the shares are rendered, columns that are shown


def decision_markdown(decision: Decision) -> str:
    """Return the outcome, the rules that fired, what moved most, and the labelled performance over time."""
    parts = [
        f"## {MARKS[decision.outcome]} {TITLES[decision.outcome]}",
        prose(decision.sentence),
        _compared(decision),
        _log(decision.log),
        f"### What fired\n\n{_rules(decision.fired)}" if decision.fired else "",
        _moved(decision.columns),
        _performance(decision),
        details("All rules", _rules(decision.rules)) if len(decision.rules) > 1 else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _compared(decision: Decision) -> str:
    """Return which data was compared with which."""
    if not decision.reference or not decision.partitions:
        return ""
    reference, windows = decision.reference, decision.windows
    new = f"Compared: {', '.join(code(name) for name in decision.partitions[-MAX_PARTITIONS:])}"
    if windows:
        new += f", windows {' and '.join(f'{code(w.first)} to {code(w.last)} ({w.rows:,} rows)' for w in windows)}"
    history = f"{code(reference.first)} to {code(reference.last)} ({counted(reference.rows, 'row')})"
    return f"{new}. With: {history}, the data of the champion."


def _log(log: Log | None) -> str:
    """Return how many rows of the prediction log count, and why others do not."""
    if log is None:
        return ""
    rows = {
        f"with other inputs than the source has ({log.skew:.1%} of those requested in time)": log.skewed,
        "requested after their moment": log.late,
    }
    lines = {"of another model": log.other_model, "of other columns": log.other_columns, "damaged": log.damaged}
    left_out = [f"{counted(number, 'row')} {reason}" for reason, number in rows.items() if number]
    left_out += [f"{counted(number, 'line')} {reason}" for reason, number in lines.items() if number]
    text = f"Prediction log: {log.counted:,} of {counted(log.rows, 'requested row')} count"
    text += f"; left out: {', '.join(left_out)}." if left_out else "."
    differing = ", ".join(f"{code(name)} in {number:,}" for name, number in list(log.columns.items())[:MAX_COLUMNS])
    return f"{text} Inputs that differ from the source: {differing}." if differing else text


def _rules(rules: list[Rule]) -> str:
    rows = [
        [
            code(rule.name),
            rule.evidence,
            "🔴" if rule.fired else "",
            figure(rule.figure),
            figure(rule.threshold),
            prose(rule.why),
        ]
        for rule in rules[:MAX_RULES]
    ]
    return table(["Rule", "Evidence", "", "Figure:", "Threshold:", "Why"], rows)


def _moved(columns: list[Column]) -> str:
    """Return a table of the columns that moved most, and a chart of the first of them."""
    compared = [column for column in columns if column.distance]
    if not compared:
        return ""
    rows = [
        [code(c.name), figure(c.distance[-1]), figure(c.threshold[-1]), prose(_largest_change(c))]
        for c in compared[:MAX_COLUMNS]
    ]
    head = table(["Column", "Distance:", "Usual, up to:", "Where most"], rows)
    charts = [f"{code(c.name)}\n\n{_chart(c)}" for c in compared[:MAX_CHARTS]]
    caption = "🔵 bars are the newest window, the 🟠 line what the champion learned from."
    return "\n\n".join(["### What moved most", head, caption, *charts])


def _largest_change(column: Column) -> str:
    change = np.array(column.now) - np.array(column.before)
    index = int(np.abs(change).argmax())
    return f"{column.labels[index]}: {column.before[index]:.1%} → {column.now[index]:.1%}"


def _chart(column: Column) -> str:
    """Return a chart of the column's largest bins."""
    before, now = np.array(column.before), np.array(column.now)
    largest = sorted(np.argsort(-np.maximum(before, now), kind="stable")[:MAX_BINS])
    place = range(len(largest))
    series = (
        Series.of("now: the newest window", BLUE, place, now[largest], "bar"),
        Series.of("what the champion learned from", ORANGE, place, before[largest]),
    )
    return captioned(
        Plot(column.name, column.name, ("bins", "share of rows"), series, [column.labels[i] for i in largest])
    )


def _performance(decision: Decision) -> str:
    """Return the first metric over time, beside its value on the holdout."""
    holdout = decision.reference.performance if decision.reference else {}
    metric = next(iter(holdout), None)
    stretches = [stretch for stretch in decision.history if metric in stretch.performance][-MAX_STRETCHES:]
    if metric is None or len(stretches) < 2:
        return ""
    values = np.array([stretch.performance[metric].value for stretch in stretches])
    level = np.full(len(values), holdout[metric].value)
    low = float(min(values.min(), level[0]))
    place, dates = range(len(values)), [stretch.last for stretch in stretches]
    series = (Series.of("holdout", GREY, place, level), Series.of("labelled rows", BLUE, place, values))
    drawn = mermaid(Plot(metric, metric, (f"{metric} to", metric), series, dates, low=low * 0.98))
    recent = decision.recent.performance.get(metric) if decision.recent else None
    now = f"{figure(recent.value)} ± {recent.error:.4f}" if recent else DASH
    caption = f"🔵 {code(metric)} on labelled rows, ⚪ on the champion's holdout ({figure(level[0])}); now {now}."
    return f"### Labelled performance\n\n{caption}\n\n{drawn}"


def write_html(path: Path, decision: Decision) -> None:
    """Write Evidently's page on the newest window; print one line instead if Evidently is not installed."""
    columns = [column for column in decision.columns if column.threshold][:HTML_COLUMNS]  # the furthest moved first
    if find_spec("evidently") is None or not columns:
        say(f"{path} is not written: it takes Evidently (dependency group `monitor`) and a whole window")
        return
    with warnings.catch_warnings(action="ignore"):  # of Evidently's own dependencies
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        named = dict(zip(safe_names(columns), columns, strict=True))
        limits = {name: column.threshold[-1] for name, column in named.items()}
        definition = DataDefinition(categorical_columns=list(named))
        now = pd.DataFrame({name: as_rows(column.now, column.labels) for name, column in named.items()})
        before = pd.DataFrame({name: as_rows(column.before, column.labels) for name, column in named.items()})
        report = Report([DataDriftPreset(columns=list(named), method=METHOD, per_column_threshold=limits)])
        run = report.run(Dataset.from_pandas(now, definition), Dataset.from_pandas(before, definition))
        run.save_html(str(path))


def safe_names(columns: Sequence[Column]) -> list[str]:
    """Return each column's name without characters that mean something in HTML; numbered if two would be the same."""
    names = [label(column.name, NAME) for column in columns]
    return names if len({*names}) == len(names) else [f"{index:02} {name}" for index, name in enumerate(names)]


def as_rows(shares: list[float], labels: list[str]) -> list[str]:
    """Return `HTML_ROWS` labels of bins in these shares, as exactly as that number of rows allows."""
    ends = np.rint(np.cumsum(shares) / max(sum(shares), 1e-12) * HTML_ROWS).astype(int)
    ordered = [f"{index:02} {label(name, NAME)}" for index, name in enumerate(labels)]
    return np.repeat(ordered, np.diff(ends, prepend=0)).tolist()
