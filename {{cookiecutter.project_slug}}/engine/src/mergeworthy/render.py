"""Markdown for GitHub, and plots as Mermaid charts, which GitHub draws itself: nothing is uploaded."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .text import NAME, label

# DOC render.markdown: GitHub's Markdown made from text that others chose: it cannot break a table, become HTML, a
# link, or ping anybody.

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


# DOC render.charts: Plots as Mermaid charts: GitHub draws them itself, so nothing is uploaded.

Floats = NDArray[np.floating[Any]]
BLUE, ORANGE, GREY = "#2f81f7", "#e16f24", "#8b949e"  # seen on white and on black
CHART = """```mermaid
---
config:
  xyChart: {{width: 640, height: 280}}
  themeVariables:
    xyChart:
      backgroundColor: "transparent"
      plotColorPalette: "{colours}"
---
xychart-beta
  x-axis "{x}" {domain}
  y-axis "{y}" {low} --> {high}
{plots}
```"""


def chart(axes: tuple[str, str], domain: str, lines: Sequence[tuple[str, str, Floats]], low: float = 0) -> str:
    """Make a Mermaid chart of (kind, colour, values), the first drawn first; the y axis ends at the highest value."""
    high = max(float(values.max()) for _, _, values in lines)
    return CHART.format(
        colours=", ".join(colour for _, colour, _ in lines),
        x=label(axes[0], NAME),
        domain=domain,
        y=label(axes[1], NAME),
        low=f"{low:.3f}",
        high=f"{max(high, low + 0.001):.3f}",
        plots="\n".join(f"  {kind} [{', '.join(f'{v:.4f}' for v in values)}]" for kind, _, values in lines),
    )


def points(values: Iterable[object]) -> str:
    """Return the domain of a chart's x axis that has a name for each point."""
    quoted = [f'"{label(value)}"' for value in values]
    return f"[{', '.join(quoted)}]"
