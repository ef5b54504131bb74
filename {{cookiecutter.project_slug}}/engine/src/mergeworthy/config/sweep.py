"""sweep.yaml: what a search over params.yaml tries."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from .base import Count, Strict, load
from .metric import DirectedMetric

SWEEP = Path("sweep.yaml")


class Range(Strict):
    """Numbers from `low` to `high`, both included; whole ones where params.yaml holds a whole one."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("a log scale begins above 0")
        return self

    def extremes(self, *, whole: bool) -> list[Any]:
        """The lowest and the highest value."""
        return [int(end) if whole else end for end in (self.low, self.high)]


class Choices(Strict):
    """These values and no others."""

    choices: Annotated[list[float | int | str | bool], Field(min_length=2)]

    def extremes(self, *, whole: bool) -> list[Any]:  # noqa: ARG002 (as of a range)
        """All of them: among choices there is no order."""
        return self.choices


Search = Annotated[dict[str, Range | Choices], Field(min_length=1)]


class Sweep(Strict):
    """The whole file."""

    metric: DirectedMetric
    trials: Count
    seed: Annotated[int, Field(ge=0)] = 0
    search: Search


def sweep() -> Sweep:
    """Return what a search tries."""
    return load(SWEEP, Sweep)
