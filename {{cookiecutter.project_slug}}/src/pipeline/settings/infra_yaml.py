"""infra.yaml: where things run."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator

from .strict import Count, Positive, Strict, load

INFRA = Path("infra.yaml")


class FlightsSource(Strict):
    """The packaged sample: the 2013 flights of New York's airports, a month a partition."""

    kind: Literal["flights"]


class FilesSource(Strict):
    """A folder or bucket; `url` names `{partition}` and `{table}` and ends in .parquet or .csv."""

    kind: Literal["files"]
    url: str
    options: dict[str, JsonValue] = Field(default_factory=dict)

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
    threads: Count = 2
    processes: Count = 1
    memory_gb: Positive = 8
    nodes: Count = 1
    rendezvous: Annotated[str, Field(pattern=r"^[^:/]+:[0-9]+$")] | None = None


class Cluster(Strict):
    """Kubernetes with Kubeflow Trainer 2; `volume` is a claim that every machine mounts and that holds the checkout."""

    image: Annotated[str, Field(min_length=1, max_length=500)]
    volume: Annotated[str, Field(min_length=1)]
    namespace: str = "default"
    runtime: str = "torch-distributed"
    resources: dict[str, str | int | float] = Field(default_factory=dict)


class Ray(Strict):
    """A Ray cluster that is there: each training process gets `compute.threads` CPUs and `gpus` GPUs of a machine."""

    address: Annotated[str, Field(min_length=1)]
    gpus: Annotated[float, Field(ge=0)] = 0

    @property
    def head(self) -> str:
        """`address`, unless Ray's own variable names another."""
        return os.environ.get("RAY_ADDRESS") or self.address


class Image(Strict):
    """The service's container; `repository` is where it is pushed to, registry and name without a tag."""

    repository: Annotated[str, Field(pattern=r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$")]


class PredictionLog(Strict):
    """Where answers are noted, as newline-delimited JSON in segments; `sample` is the share of requests that are.

    With `drift`, `make drift` looks at what was asked and answered, and not at all rows that the source delivers.
    """

    folder: str = "predictions"
    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    segment_mb: Positive = 16
    keep_mb: Positive = 512
    url: str | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)
    drift: bool = False

    @property
    def place(self) -> Path:
        """`folder`, unless PREDICTIONS_FOLDER names another: a container's volume."""
        return Path(os.environ.get("PREDICTIONS_FOLDER") or self.folder)


class Serving(Strict):
    """What the service takes on; beyond it answers 408, 413, 422 or 503, and stays up.

    After SIGTERM it goes on for `drain_seconds`, longer than idle connections are kept (5 s), and says it is not ready.
    """

    max_rows: Count = 1000
    max_concurrency: Count = 64
    body_seconds: Positive = 5
    drain_seconds: Annotated[float, Field(ge=0, le=15)] = 6
    log: PredictionLog = PredictionLog()


class Infra(Strict):
    """infra.yaml: where things run. No file in `ml/` knows any of it."""

    source: Source
    tracking: Tracking
    compute: Compute = Compute()
    cluster: Cluster | None = None
    ray: Ray | None = None
    image: Image | None = None
    advisories: Annotated[str, Field(pattern=r"^https?://")] = "https://api.osv.dev/v1/query"
    serving: Serving = Serving()


def infra() -> Infra:
    """Return where things run."""
    return load(INFRA, Infra)
