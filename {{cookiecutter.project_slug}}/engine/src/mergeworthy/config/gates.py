"""gates.yaml: the limits of a model that may be merged, and of the drift that starts a retraining."""

from datetime import date
from math import ceil
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AliasChoices, ConfigDict, Field, model_validator

from .base import Count, DirectedMetric, Margin, MetricName, Positive, Share, Strict, load

GATES = Path("gates.yaml")

FORMER_NAMES = AliasChoices("single_input", "single_input_auc")
Days = Annotated[int, Field(ge=0)]


def _usual_margins() -> dict[str, Margin]:
    from ..project import registered  # which loads numpy and polars, so only if gates.yaml says no margins

    return {name: Margin.model_validate(margin) for name, margin in registered().task.drift_margins.items()}


class Performance(Strict):
    """How much worse than on its holdout a champion may become, and the confidence of that finding.

    A margin is a number in the metric's unit, or a share of the holdout's value such as "5%".
    """

    confidence: Share = 0.99
    windows: Count = 4
    margins: Annotated[dict[DirectedMetric, Margin], Field(min_length=1)] = Field(default_factory=_usual_margins)


class Window(Strict):
    """The size of one comparison, and how many successive ones must agree (`persistence`)."""

    blocks: Count = 7
    minimum_rows: Count = 1000
    persistence: Count = 2


class Distance(Strict):
    """Jensen-Shannon distances: the smallest that counts, and the probability of a flag by chance in one check."""

    floor: Share = 0.05
    level: Share = 0.002
    draws: Annotated[int, Field(ge=100)] = 500
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _enough_draws(self) -> Self:
        if self.draws * self.level < 1:
            raise ValueError(f"a level of {self.level:g} takes at least {ceil(1 / self.level)} draws, not {self.draws}")
        return self


class Report(Strict):
    """What the report shows beside the verdict: the rates of answers that are yes from `threshold` on."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5


class Drift(Strict):
    """When drift starts a retraining.

    Lengths count blocks of data (values of `bootstrap.block`, such as days with data; partitions if it is null), not
    days of the calendar.
    """

    performance: Performance = Field(default_factory=Performance)
    window: Window = Window()
    distance: Distance = Distance()
    maximum_age: Count = 120
    maximum_skew: Share = 0.05
    label_delay: Days = 1
    cooldown_days: Days = 7


def _check_unique(names: list[str]) -> list[str]:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{repeated[0]} is listed twice")
    return names


class Bound(Strict):
    """The range of a metric on the holdout."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max, so no model can meet both")
        return self


class Champion(Strict):
    """Non-inferiority: with this confidence, the challenger is at most `margins` worse than the champion.

    A margin is a number in the metric's unit, or a share of the champion's value such as "5%".
    `minutes` is the time limit for running the code of former commits, all together. `if_code_fails` decides what
    happens if the champion's code cannot be run any more.
    """

    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    margins: Annotated[dict[DirectedMetric, Margin], Field(min_length=1)]
    minutes: Positive = 30
    if_code_fails: Literal["block", "todays_features"] = "block"


class Anchor(Strict):
    """Non-inferiority to the best of the last `champions`, so that many small losses do not add up.

    `margins` are twice those of `champion` by default. Champions up to and including the commit `after` do not count.
    """

    champions: Count = 10
    margins: Annotated[dict[DirectedMetric, Margin], Field(min_length=1)] | None = None
    after: Annotated[str, Field(pattern=r"^[0-9a-f]{7,40}$")] | None = None


class TargetSlices(Strict):
    """Slices by the target, such as the rows of each class, with a metric and a margin of their own."""

    metric: DirectedMetric
    margin: Margin


class Slices(Strict):
    """Slices of the holdout, on none of which the challenger may be significantly worse than the champion.

    Values of a column with fewer than `minimum_rows` rows form one slice together. `target` adds the slices by the
    target that the task has (`MultiClass`: its classes).
    """

    columns: Annotated[list[str], AfterValidator(_check_unique)]
    metric: DirectedMetric
    margin: Margin
    minimum_rows: Count
    target: TargetSlices | None = None


class Plausibility(Strict):
    """Results that are too good to be plausible: the gate warns, and names the column that they depend on.

    `single_input` limits how well one input alone predicts the target, as the task measures it (`Binary`: AUC).
    """

    jump: dict[DirectedMetric, Positive] = Field(default_factory=dict)
    # The second name is that of version 2.0's first gates.yaml, which knew one task.
    single_input: Annotated[float, Field(gt=0, le=1, validation_alias=FORMER_NAMES)] = 0.85


class Provenance(Strict):
    """Who may have made the outs in dvc.lock; with `ci`, CI trains again if a person committed them."""

    trained_by: Literal["anyone", "ci"] = "anyone"


class Bootstrap(Strict):
    """Resampling of whole blocks (such as days), because rows of one block are correlated.

    `block` names the column whose values are the blocks; null if rows are independent of each other.
    """

    block: str | None
    resamples: Annotated[int, Field(ge=200, le=100_000)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def unit(self) -> str:
        """What is resampled, in the plural, for sentences."""
        return "groups of rows" if self.block is None else f"values of {self.block}"

    @property
    def stretch(self) -> str:
        """What drift counts, in the plural, for sentences."""
        return "partitions" if self.block is None else self.unit


class Cost(Strict):
    """Limits of the size of the model file, and of the time to predict one row."""

    model_mb: Positive
    latency_p95_ms: Positive


class Accepted(Strict):
    """A known vulnerability that may be released until a day, included; `id` is any of its identifiers."""

    id: Annotated[str, Field(pattern=r"^[A-Z]+-[\w-]+$")]
    reason: Annotated[str, Field(min_length=10)]
    until: date


class ImageLimits(Strict):
    """Limits of the service's container: size, memory, times, and distance of its scores from offline predictions."""

    parity: Positive = 1e-5
    latency_p95_ms: Positive = 30
    size_mb: Positive = 400
    memory_mb: Positive = 300
    ready_s: Positive = 3.5
    accepted_vulnerabilities: list[Accepted] = Field(default_factory=list)


class Gates(Strict):
    """The whole of gates.yaml."""

    floors: Annotated[dict[MetricName, Bound], Field(min_length=1)]
    beats_baseline: Annotated[list[DirectedMetric], Field(min_length=1), AfterValidator(_check_unique)]
    coverage: Annotated[float, Field(gt=0, le=1)] = 1.0
    champion: Champion
    anchor: Anchor = Anchor()
    slices: Slices
    plausibility: Plausibility = Plausibility()
    provenance: Provenance = Provenance()
    bootstrap: Bootstrap
    cost: Cost
    image: ImageLimits = ImageLimits()
    report: Report = Report()
    drift: Drift = Field(default_factory=Drift)

    @property
    def anchor_margins(self) -> dict[str, Margin]:
        """Margins against the best of former champions: twice those of `champion` unless given."""
        return self.anchor.margins or {name: margin * 2 for name, margin in self.champion.margins.items()}

    @model_validator(mode="after")
    def _jumps_are_compared(self) -> Self:
        if missing := sorted(self.plausibility.jump.keys() - self.champion.margins.keys()):
            raise ValueError(
                f"plausibility.jump: {missing[0]} is not compared with the champion, champion.margins lacks it"
            )
        return self


class Policy(Strict):
    """The part of gates.yaml that is read before a training; the gate reports mistakes in the rest."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    provenance: Provenance = Provenance()


def gates() -> Gates:
    """Return the settings of gates.yaml."""
    return load(GATES, Gates)


def provenance() -> Provenance:
    """Return who may have made the outs in dvc.lock."""
    return load(GATES, Policy).provenance
