"""gates.yaml: what a model must show before it may be merged, and when drift calls for a new one."""

from datetime import date
from math import ceil
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from .base import Count, DirectedMetric, MetricName, Positive, Share, Strict, load

# DOC config.drift: The block `drift` of gates.yaml: what must have changed, and how surely, before a new model is
# called for.

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


# DOC config.gates: gates.yaml: what a model must show before it may be merged.

GATES = Path("gates.yaml")


def _once(names: list[str]) -> list[str]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{twice[0]} stands there twice")
    return names


class Bound(Strict):
    """What a metric must stay within, on the holdout."""

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
    """Non-inferiority: with this confidence the challenger is at most `margins` worse, metric by metric.

    `minutes` is how long the code of former commits may take in all; `if_code_fails` says what follows if that of the
    champion cannot be run any more.
    """

    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    margins: Annotated[dict[DirectedMetric, Positive], Field(min_length=1)]
    minutes: Positive = 30
    if_code_fails: Literal["block", "todays_features"] = "block"


class Anchor(Strict):
    """Non-inferiority to the best of the last `champions`; `margins` are twice those of `champion` if not given.

    Champions up to and including the commit `after` do not count.
    """

    champions: Count = 10
    margins: Annotated[dict[DirectedMetric, Positive], Field(min_length=1)] | None = None
    after: Annotated[str, Field(pattern=r"^[0-9a-f]{7,40}$")] | None = None


class Slices(Strict):
    """Parts of the holdout on which a challenger must not be shown worse than the champion.

    Values of a column with fewer than `minimum_rows` rows are judged together, as one part.
    """

    columns: Annotated[list[str], AfterValidator(_once)]
    metric: DirectedMetric
    margin: Positive
    minimum_rows: Count


class Plausibility(Strict):
    """What is too good to be believed at once: it warns, and names the column that it rests on."""

    jump: dict[DirectedMetric, Positive] = Field(default_factory=dict)
    single_input_auc: Annotated[float, Field(gt=0.5, le=1)] = 0.85


class Provenance(Strict):
    """Who must have made what dvc.lock names; with `ci` a pull request with a person's outputs is trained anew."""

    trained_by: Literal["anyone", "ci"] = "anyone"


class Bootstrap(Strict):
    """Resampling of whole blocks (days), so that what rows of a day share does not look like evidence."""

    block: str
    resamples: Annotated[int, Field(ge=200, le=100_000)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0


class Cost(Strict):
    """What the shipped artifact may weigh, and how long one row may take."""

    model_mb: Positive
    latency_p95_ms: Positive


class Accepted(Strict):
    """A known vulnerability that may be released, up to and including a day; by any id that lists give it."""

    id: Annotated[str, Field(pattern=r"^[A-Z]+-[\w-]+$")]
    reason: Annotated[str, Field(min_length=10)]
    until: date


class ImageLimits(Strict):
    """What the service's container may cost and hold, and how far its answers may be from the offline predictions."""

    parity: Positive = 1e-5
    latency_p95_ms: Positive = 30
    size_mb: Positive = 400
    memory_mb: Positive = 300
    ready_s: Positive = 3.5
    accepted_vulnerabilities: list[Accepted] = Field(default_factory=list)


class Gates(Strict):
    """gates.yaml: what a model must show before it may be merged."""

    floors: Annotated[dict[MetricName, Bound], Field(min_length=1)]
    beats_baseline: Annotated[list[DirectedMetric], Field(min_length=1), AfterValidator(_once)]
    coverage: Annotated[float, Field(gt=0, le=1)] = 1.0
    champion: Champion
    anchor: Anchor = Anchor()
    slices: Slices
    plausibility: Plausibility = Plausibility()
    provenance: Provenance = Provenance()
    bootstrap: Bootstrap
    cost: Cost
    image: ImageLimits = ImageLimits()
    drift: Drift = Drift()

    @model_validator(mode="after")
    def _jumps_are_compared(self) -> Self:
        if other := sorted(self.plausibility.jump.keys() - self.champion.margins.keys()):
            raise ValueError(
                f"plausibility.jump: {other[0]} is not compared with the champion, champion.margins lacks it"
            )
        return self


class Policy(Strict):
    """The part of gates.yaml that is asked before anything is judged; mistakes in the rest are the gate's to name."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    provenance: Provenance = Provenance()


def gates() -> Gates:
    """Return what a model must show."""
    return load(GATES, Gates)


def provenance() -> Provenance:
    """Return who must have made what dvc.lock names."""
    return load(GATES, Policy).provenance
