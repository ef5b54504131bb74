"""GitHub's Markdown made from text that others chose: it cannot break a table, become HTML, a link, or ping anybody."""

from collections.abc import Iterable, Sequence

from ..text import NAME, clean, code, label, prose

__all__ = [
    "DASH",
    "MINUS",
    "NAME",
    "clean",
    "code",
    "counted",
    "details",
    "figure",
    "label",
    "prose",
    "table",
    "unbroken",
    "within",
]

DASH, MINUS = "\u2013", "\u2212"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table of cells that are Markdown already; a column whose header ends in ":" is of numbers."""
    rules = ["---:" if name.endswith(":") else "---" for name in header]
    lines = [[name.removesuffix(":") for name in header], rules, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def details(summary: str, body: str) -> str:
    """Put a body behind a click."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def counted(number: int, noun: str) -> str:
    """Say 1 row, 2 rows."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def figure(value: float | None, *, sign: bool = False) -> str:
    """Show four digits behind the point, with a real minus; a dash for what is not known."""
    return DASH if value is None else f"{value:{'+' if sign else ''}.4f}".replace("-", MINUS)


def within(budget: int, lines: Iterable[str]) -> list[str]:
    """Take lines as long as their bytes fit: escaped, a hostile one is ten times as long as it looks."""
    taken: list[str] = []
    for line in lines:
        budget -= len(line.encode())
        if budget < 0:
            break
        taken.append(line)
    return taken


def unbroken(text: str) -> str:
    """Keep the words of a cell on one line."""
    return text.replace(" ", "\u00a0")
