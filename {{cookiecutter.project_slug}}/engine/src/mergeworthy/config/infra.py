"""infra.yaml: where things run."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from .base import Count, Positive, Strict, load

INFRA = Path("infra.yaml")


def _says_yes_or_no(options: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Refuse what YAML 1.1 took for true or false: it is a text, and any text is true."""
    for name, value in options.items():
        if isinstance(value, str) and value.lower() in ("yes", "no", "on", "off"):
            raise ValueError(f"{name}: {value!r} is a text in YAML 1.2: write true or false")
    return options


Options = Annotated[dict[str, JsonValue], AfterValidator(_says_yes_or_no)]


class FlightsSource(Strict):
    """The packaged sample: the 2013 flights of New York's airports, a month a partition."""

    kind: Literal["flights"]


class Csv(Strict):
    """How CSV files are written. The defaults are RFC 4180 in UTF-8, with nothing between two separators as null.

    `nulls` are the words that mean null, in columns of every type. `formats` maps `table.column` to the format of its
    dates or times (`%m/%d/%Y %H:%M`); without one they must be ISO 8601. `skip_lines` stand before the header.
    """

    separator: str = ","
    decimal: Literal[".", ","] = "."
    encoding: str = "utf-8"
    nulls: list[str] = Field(default_factory=lambda: [""])
    formats: dict[str, Annotated[str, Field(pattern="%")]] = Field(default_factory=dict)
    skip_lines: Annotated[int, Field(ge=0)] = 0
    compression: Literal["auto", "none", "gzip", "bz2", "xz", "zip"] = "auto"  # auto: by the ending of `url`

    @field_validator("separator")
    @classmethod
    def _is_one_character(cls, separator: str) -> str:
        separator = "\t" if separator == r"\t" else separator
        if len(separator) != 1 or not separator.isascii() or separator in '\0\n\r"':
            raise ValueError(r"must be one ASCII character other than a quote or a line's end: ';', '|', '\t', …")
        return separator

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        known = encoding.lower().replace("_", "-") not in NO_FILES
        try:
            "x".encode(encoding)
        except (LookupError, ValueError):
            known = False
        if not known:
            raise ValueError("must be an encoding that Python knows: utf-8, latin-1, cp1252, utf-16, …")
        return encoding


# Codecs of Python's that are no encoding of files.
NO_FILES = ("idna", "punycode", "raw-unicode-escape", "unicode-escape")
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zip": "zip"}
ENDINGS = (".parquet", ".csv", *(f".csv{ending}" for ending in COMPRESSED))


class FilesSource(Strict):
    """A folder or bucket; `url` names `{partition}` and `{table}` and ends in one of `ENDINGS`, in any case."""

    kind: Literal["files"]
    url: str
    options: Options = Field(default_factory=dict)
    csv: Csv = Csv()

    @field_validator("url")
    @classmethod
    def _names_every_file(cls, url: str) -> str:
        if "{partition}" in url and "{table}" in url and url.lower().endswith(ENDINGS):
            return url
        raise ValueError(f"must hold {{partition}} and {{table}} and end in {', '.join(ENDINGS)}")

    @model_validator(mode="after")
    def _says_nothing_of_csv_in_vain(self) -> "FilesSource":
        if not self.is_csv and self.csv != Csv():
            raise ValueError("csv describes CSV files, and url ends in .parquet: remove one of them")
        return self

    @property
    def is_csv(self) -> bool:
        """Whether the files are CSV; else they are parquet."""
        return not self.url.lower().endswith(".parquet")

    @property
    def compression(self) -> str | None:
        """How the files are compressed as a whole, in fsspec's words."""
        if self.csv.compression != "auto":
            return None if self.csv.compression == "none" else self.csv.compression
        return COMPRESSED.get(Path(self.url.lower()).suffix)


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
    options: Options = Field(default_factory=dict)
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
