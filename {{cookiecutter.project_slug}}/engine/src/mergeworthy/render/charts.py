"""Plots as Mermaid charts: GitHub draws them itself, so nothing is uploaded."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .markdown import NAME, label

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
