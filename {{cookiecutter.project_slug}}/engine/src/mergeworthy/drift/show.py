"""The decision for people: `reports/drift.md`, which becomes the text of a retraining pull request."""

import numpy as np

from ..render.charts import BLUE, GREY, ORANGE, chart, points
from ..render.markdown import DASH, code, counted, details, figure, prose, table
from .decision import Column, Decision, Log, Rule

MARKS = {"quiet": "✅", "retrain": "🔁", "broken": "⛔"}
WORDS = {"quiet": "The champion stays", "retrain": "A new model is called for", "broken": "The data is broken"}
TABLE, PICTURES, BINS = 8, 3, 12


def markdown(decision: Decision) -> str:
    """Verdict first; then the rules that fired, what moved most, and the labelled performance over time."""
    parts = [f"## {MARKS[decision.outcome]} {WORDS[decision.outcome]}", prose(decision.sentence), _compared(decision)]
    parts += [_log(decision.log), _rules(decision.fired), _moved(decision.columns), _performance(decision)]
    parts.append(details("All rules", _table(decision.rules)) if len(decision.rules) > 1 else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def _compared(decision: Decision) -> str:
    if not decision.reference or not decision.partitions:
        return ""
    known, windows = decision.reference, decision.windows
    told = f"Compared: {', '.join(code(name) for name in decision.partitions[-12:])}"
    if windows:
        told += f", windows {' and '.join(f'{code(w.first)} to {code(w.last)} ({w.rows:,} rows)' for w in windows)}"
    base = f"{code(known.first)} to {code(known.last)} ({counted(known.rows, 'row')})"
    return f"{told}; with {base}, from which the champion was made."


def _log(log: Log | None) -> str:
    """The prediction log beside the source: how many rows count, and why others do not."""
    if log is None:
        return ""
    reasons = {
        f"other inputs than the source ({log.skew:.1%} of those asked for in time)": log.skewed,
        "asked for after their moment": log.late,
    }
    lines = {"of another model": log.other_model, "of other columns": log.other_columns, "damaged": log.damaged}
    left_out = [f"{counted(rows, 'row')} {why}" for why, rows in reasons.items() if rows]
    left_out += [f"{counted(number, 'line')} {why}" for why, number in lines.items() if number]
    told = f"Prediction log: {log.counted:,} of {counted(log.rows, 'row')} asked for count"
    differs = ", ".join(f"{code(name)} in {rows:,}" for name, rows in list(log.columns.items())[:TABLE])
    told += f"; left out: {', '.join(left_out)}." if left_out else "."
    return told + (f" What differs from the source: {differs}." if differs else "")


def _rules(fired: list[Rule]) -> str:
    return f"### What fired\n\n{_table(fired)}" if fired else ""


def _table(rules: list[Rule]) -> str:
    rows = [
        [
            code(rule.name),
            rule.evidence,
            "🔴" if rule.fired else "",
            figure(rule.figure),
            figure(rule.threshold),
            prose(rule.why),
        ]
        for rule in rules[:60]
    ]
    return table(["Rule", "Evidence", "", "Figure:", "Threshold:", "Why"], rows)


def _moved(columns: list[Column]) -> str:
    seen = [column for column in columns if column.distance]
    if not seen:
        return ""
    rows = [[code(c.name), figure(c.distance[-1]), figure(c.threshold[-1]), prose(_where(c))] for c in seen[:TABLE]]
    head = table(["Column", "Distance:", "Usual, up to:", "Where most"], rows)
    pictures = [f"{code(c.name)}\n\n{_picture(c)}" for c in seen[:PICTURES]]
    caption = "🔵 bars are the newest window, the 🟠 line what the champion learned from."
    return "\n\n".join(["### What moved most", head, caption, *pictures])


def _where(column: Column) -> str:
    change = np.array(column.now) - np.array(column.before)
    place = int(np.abs(change).argmax())
    return f"{column.labels[place]}: {column.before[place]:.1%} → {column.now[place]:.1%}"


def _picture(column: Column) -> str:
    before, now = np.array(column.before), np.array(column.now)
    shown = sorted(np.argsort(-np.maximum(before, now), kind="stable")[:BINS])
    lines = [("bar", BLUE, now[shown]), ("line", ORANGE, before[shown])]
    return chart(("bins", "share of rows"), points(column.labels[place] for place in shown), lines)


def _performance(decision: Decision) -> str:
    """The first metric, stretch by stretch, beside what it was on the holdout."""
    holdout = decision.reference.performance if decision.reference else {}
    metric = next(iter(holdout), None)
    told = [stretch for stretch in decision.history if metric in stretch.performance]
    if metric is None or len(told) < 2:
        return ""
    values = np.array([stretch.performance[metric].value for stretch in told[-24:]])
    level = np.full(len(values), holdout[metric].value)
    low = float(min(values.min(), level[0]))
    lines = [("line", GREY, level), ("line", BLUE, values)]
    drawn = chart((f"{metric} to", metric), points(stretch.last for stretch in told[-24:]), lines, low=low * 0.98)
    recent = decision.recent.performance.get(metric) if decision.recent else None
    now = f"{figure(recent.value)} ± {recent.error:.4f}" if recent else DASH
    caption = f"🔵 {code(metric)} on labelled rows, ⚪ on the champion's holdout ({figure(level[0])}); now {now}."
    return f"### Labelled performance\n\n{caption}\n\n{drawn}"
