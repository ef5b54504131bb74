"""Parts of Markdown for GitHub: tables, folded parts, figures."""

import math
from collections.abc import Iterable, Sequence

DASH, MINUS = "\u2013", "\u2212"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already; a column whose header ends in ":" is aligned for numbers."""
    rules = ["---:" if name.endswith(":") else "---" for name in header]
    lines = [[name.removesuffix(":") for name in header], rules, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def details(summary: str, body: str) -> str:
    """Return a body that is shown after a click on the summary."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 row, 2 rows."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def figure(value: float | None, *, sign: bool = False) -> str:
    """Return a number with four decimals, or five figures from 10 on, and a real minus sign; a dash for None."""
    if value is None:
        return DASH
    before_point = len(f"{abs(value):.0f}") if math.isfinite(value) else 1
    decimals = 0 if before_point > 1 and float(value).is_integer() else max(5 - before_point, 0)
    return f"{value:{'+' if sign else ''},.{decimals}f}".replace("-", MINUS)


def within(budget: int, lines: Iterable[str]) -> list[str]:
    """Return the first lines that fit `budget` bytes. Escaped text can be ten times as long as it looks."""
    taken: list[str] = []
    for line in lines:
        budget -= len(line.encode())
        if budget < 0:
            break
        taken.append(line)
    return taken


def unbroken(text: str) -> str:
    """Return the text of a cell with spaces that do not break the line."""
    return text.replace(" ", "\u00a0")
