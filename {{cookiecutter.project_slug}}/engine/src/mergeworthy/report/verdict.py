"""The first thing to be read: may this be merged, and if not, why."""

from ..render.markdown import MINUS, NAME, counted, details, prose, table, within
from ..verdict import MARKS, WORDS, Check, Verdict
from .facts import Facts
from .fit import Section

MARKER = "<!-- pipeline report -->"  # how we know our comment, whoever sent it last
REASONS, CHECKS = 20, 60  # shown at most
BUDGET = 12_000  # bytes, for either


def section(facts: Facts) -> Section:
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
