"""The verdict for people: a Markdown table for pull requests, the same on the console."""

from rich.console import Console
from rich.table import Table

from ..text import clean, inert, prose
from ..verdict import MARKS, WORDS, Check, Verdict

COLUMNS = ("Check", "", "Figure", "Limit", "Why")


def markdown(verdict: Verdict) -> str:
    """Give the verdict as one heading, its table and where it comes from."""
    rows = [[prose(cell) for cell in _cells(check)] for check in verdict.checks]
    lines = [list(COLUMNS), ["---", "---", "---:", "---:", "---"], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {_title(verdict)}\n\n{table}\n\n{prose(_origin(verdict))}\n"


def console(verdict: Verdict) -> None:
    """Print the verdict."""
    checks(_title(verdict), verdict.checks, _origin(verdict))


def checks(title: str, told: list[Check], caption: str | None = None) -> None:
    """Print checks as a table."""
    table = Table(title=title, caption=caption and inert(clean(caption)), title_justify="left", caption_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("Figure", "Limit") else "left")
    for check in told:
        table.add_row(*(inert(clean(cell)) for cell in _cells(check)))
    Console().print(table, markup=False)


def _title(verdict: Verdict) -> str:
    return f"{MARKS[verdict.outcome]} The model {WORDS[verdict.outcome]}"


def _origin(verdict: Verdict) -> str:
    champion = f"champion of {verdict.champion[:12]}" if verdict.champion else "no champion"
    return f"Holdout {verdict.partition or 'unknown'}, {champion}, commit {(verdict.commit or 'none')[:12]}."


def _cells(check: Check) -> list[str]:
    numbers = ["" if value is None else f"{value:.4g}" for value in (check.figure, check.limit)]
    return [check.name, MARKS[check.result], *numbers, check.why]
