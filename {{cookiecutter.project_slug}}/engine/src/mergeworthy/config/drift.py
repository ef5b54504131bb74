"""The block `drift` of gates.yaml: what must have changed, and how surely, before a new model is called for."""

from math import ceil
from typing import Annotated, Self

from pydantic import Field, model_validator

from .base import Count, Positive, Share, Strict
from .metric import DirectedMetric

Days = Annotated[int, Field(ge=0)]


class Performance(Strict):
    """How much worse than on its holdout a champion may be, and how surely that must be shown."""

    confidence: Share = 0.99
    windows: Count = 4
    margins: dict[DirectedMetric, Positive] = Field(
        default_factory=lambda: {"auc": 0.02, "log_loss": 0.03}, min_length=1
    )


class Window(Strict):
    """The stretch that one comparison is about, and how many in a row must agree."""

    blocks: Count = 7
    minimum_rows: Count = 1000
    persistence: Count = 2


class Distance(Strict):
    """Jensen-Shannon distances: the least that counts, and how often one check may flag any input by chance."""

    floor: Share = 0.05
    level: Share = 0.002
    draws: Annotated[int, Field(ge=100)] = 500
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _can_be_told(self) -> Self:
        if self.draws * self.level < 1:
            raise ValueError(f"a level of {self.level:g} takes at least {ceil(1 / self.level)} draws, not {self.draws}")
        return self


class Drift(Strict):
    """All of it; lengths are in the blocks that `bootstrap.block` names, of data and not of the calendar."""

    performance: Performance = Performance()
    window: Window = Window()
    distance: Distance = Distance()
    maximum_age: Count = 120
    maximum_skew: Share = 0.05
    label_delay: Days = 1
    cooldown_days: Days = 7
