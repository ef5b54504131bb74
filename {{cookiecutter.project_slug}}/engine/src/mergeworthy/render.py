"""Markdown for GitHub, and plots as Mermaid charts, which GitHub draws itself: nothing is uploaded."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .text import NAME, label

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

DASH, MINUS = "\u2013", "\u2212"

BLUE, ORANGE, GREY = "#2f81f7", "#e16f24", "#8b949e"  # visible on white and on black
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
    """Return a number with four decimals and a real minus sign; a dash for None."""
    return DASH if value is None else f"{value:{'+' if sign else ''}.4f}".replace("-", MINUS)


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


def chart(axes: tuple[str, str], domain: str, lines: Sequence[tuple[str, str, "Floats"]], low: float = 0) -> str:
    """Return a Mermaid chart of (kind, colour, values), the first drawn first; the y axis ends at the highest value."""
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
    """Return the domain of a chart's x axis that names each point."""
    quoted = [f'"{label(value)}"' for value in values]
    return f"[{', '.join(quoted)}]"
