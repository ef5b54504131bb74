"""params.yaml, gates.yaml and infra.yaml as typed, validated settings.

What the model may be tuned by is declared beside the model, in `ml/params.py`.
"""

import os
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from . import strict_yaml
from .errors import UserError
from .ml import METRICS, Params

PARAMS, GATES, INFRA = Path("params.yaml"), Path("gates.yaml"), Path("infra.yaml")

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


class Strict(BaseModel):
    """Unknown keys are mistakes: a typo must never switch a check off."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FlightsSource(Strict):
    """The packaged sample: the 2013 flights of New York's airports, a month a partition."""

    kind: Literal["flights"]


class FilesSource(Strict):
    """A folder or bucket; `url` names `{partition}` and `{table}` and ends in .parquet or .csv."""

    kind: Literal["files"]
    url: str
    options: dict[str, str] = {}

    @field_validator("url")
    @classmethod
    def _names_every_file(cls, url: str) -> str:
        if "{partition}" in url and "{table}" in url and url.endswith((".parquet", ".csv")):
            return url
        raise ValueError("must hold {partition} and {table} and end in .parquet or .csv")


class SqlSource(Strict):
    """A database; `queries` holds one SELECT per table, with `:partition` bound; `partitions` lists the names."""

    kind: Literal["sql"]
    url_env: str
    partitions: str
    queries: dict[str, str]


Source = Annotated[FlightsSource | FilesSource | SqlSource, Field(discriminator="kind")]


class Tracking(Strict):
    """Where runs are mirrored to: a database or a server. Not `required`: one that is down is a warning."""

    uri: Annotated[str, Field(min_length=1)]
    experiment: Annotated[str, Field(min_length=1)]
    required: bool = True

    @property
    def address(self) -> str:
        """`uri`, unless MLflow's own variable names another; it may hold credentials."""
        return os.environ.get("MLFLOW_TRACKING_URI") or self.uri


class Compute(Strict):
    """What training runs on."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: Annotated[int, Field(ge=1)] = 2


class Infra(Strict):
    """infra.yaml: where things run. No file in `ml/` knows any of it."""

    source: Source
    tracking: Tracking
    compute: Compute = Compute()


def _known(metric: str) -> str:
    if metric not in METRICS:
        raise ValueError(f"no such metric, ml/metrics.py has {', '.join(METRICS)}")
    return metric


def _directed(metric: str) -> str:
    if METRICS[_known(metric)].greater_is_better is None:
        raise ValueError("a value in between is best, so there is no worse by a margin: give it a floor instead")
    return metric


MetricName = Annotated[str, AfterValidator(_known)]
DirectedMetric = Annotated[str, AfterValidator(_directed)]


class Bound(Strict):
    """What a metric must stay within, on the holdout."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        return self


class Champion(Strict):
    """Non-inferiority: with this confidence the challenger is at most `margins` worse, metric by metric."""

    confidence: Share = 0.95
    margins: Annotated[dict[DirectedMetric, Positive], Field(min_length=1)]


class Slices(Strict):
    """Parts of the holdout on which a challenger must not be shown worse than the champion."""

    columns: list[str]
    metric: DirectedMetric
    margin: Positive
    minimum_rows: Annotated[int, Field(ge=1)]


class Bootstrap(Strict):
    """Resampling of whole blocks (days), so that what rows of a day share does not look like evidence."""

    block: str
    resamples: Annotated[int, Field(ge=200)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0


class Cost(Strict):
    """What the shipped artifact may weigh, and how long one row may take."""

    model_mb: Positive
    latency_p95_ms: Positive


class Gates(Strict):
    """gates.yaml: what a model must show before it may be merged."""

    floors: Annotated[dict[MetricName, Bound], Field(min_length=1)]
    beats_baseline: Annotated[list[DirectedMetric], Field(min_length=1)]
    champion: Champion
    slices: Slices
    bootstrap: Bootstrap
    cost: Cost


Model = TypeVar("Model", bound=BaseModel)


def load(path: Path, model: type[Model]) -> Model:
    """Read one settings file; raise `UserError` naming the file, the key and what was expected."""
    try:
        return model.model_validate(strict_yaml.read(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "(top level)"
        raise UserError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from None


def params() -> Params:
    """What the model is made with."""
    return load(PARAMS, Params)


def gates() -> Gates:
    """What a model must show."""
    return load(GATES, Gates)


def infra() -> Infra:
    """Where things run."""
    return load(INFRA, Infra)
