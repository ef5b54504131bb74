"""infra.yaml: where things run. .github/settings.yaml: what the repository is on GitHub."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from .base import Count, Positive, Strict, load

INFRA = Path("infra.yaml")
REPOSITORY = Path(".github/settings.yaml")
DEFAULT_BRANCH = "~DEFAULT_BRANCH"  # GitHub's own word for the default branch, whatever its name

# Codecs of Python that are not encodings of files.
NOT_FILE_ENCODINGS = ("idna", "punycode", "raw-unicode-escape", "unicode-escape")
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zip": "zip"}  # by the ending of a file
ENDINGS = (".parquet", ".csv", *(f".csv{ending}" for ending in COMPRESSIONS))


def _refuse_old_booleans(options: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Refuse the Booleans of YAML 1.1, such as `no`: in YAML 1.2 they are texts, and any text counts as true."""
    for name, value in options.items():
        if isinstance(value, str) and value.lower() in ("yes", "no", "on", "off"):
            raise ValueError(f"{name}: {value!r} is a text in YAML 1.2: write true or false")
    return options


Options = Annotated[dict[str, JsonValue], AfterValidator(_refuse_old_booleans)]


class FlightsSource(Strict):
    """The packaged sample: the flights of New York's airports in 2013, with a partition for each month."""

    kind: Literal["flights"]


class DemandSource(Strict):
    """The packaged sample: people who pass counters in Auckland's centre each hour, with a partition for each month."""

    kind: Literal["demand"]


class Csv(Strict):
    """The format of CSV files; by default RFC 4180 in UTF-8, with an empty field as null.

    `nulls` are the values that mean null, in columns of every type. `formats` maps `table.column` to the format of its
    dates or times (`%m/%d/%Y %H:%M`), which is ISO 8601 by default. `skip_lines` counts the lines before the header.
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
    def _check_character(cls, separator: str) -> str:
        separator = "\t" if separator == r"\t" else separator
        if len(separator) != 1 or not separator.isascii() or separator in '\0\n\r"':
            raise ValueError(r"must be one ASCII character other than a quote or a line's end: ';', '|', '\t', …")
        return separator

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, encoding: str) -> str:
        valid = encoding.lower().replace("_", "-") not in NOT_FILE_ENCODINGS
        try:
            "x".encode(encoding)
        except (LookupError, ValueError):
            valid = False
        if not valid:
            raise ValueError("must be an encoding that Python knows: utf-8, latin-1, cp1252, utf-16, …")
        return encoding


class FilesSource(Strict):
    """A folder or bucket; `url` contains `{partition}` and `{table}`, and ends in one of `ENDINGS`, in any case."""

    kind: Literal["files"]
    url: str
    options: Options = Field(default_factory=dict)
    csv: Csv = Csv()

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if "{partition}" in url and "{table}" in url and url.lower().endswith(ENDINGS):
            return url
        raise ValueError(f"must contain {{partition}} and {{table}} and end in {', '.join(ENDINGS)}")

    @model_validator(mode="after")
    def _csv_needs_csv_files(self) -> "FilesSource":
        if not self.is_csv and self.csv != Csv():
            raise ValueError("csv describes CSV files, and url ends in .parquet: remove one of them")
        return self

    @property
    def is_csv(self) -> bool:
        """Return whether the files are CSV and not parquet."""
        return not self.url.lower().endswith(".parquet")

    @property
    def compression(self) -> str | None:
        """Compression of the files, as fsspec names it; None if they are not compressed."""
        if self.csv.compression != "auto":
            return None if self.csv.compression == "none" else self.csv.compression
        return COMPRESSIONS.get(Path(self.url.lower()).suffix)


class SqlSource(Strict):
    """A database; `queries` has a SELECT for each table, with the parameter `:partition`; `partitions` lists names."""

    kind: Literal["sql"]
    url_env: str
    partitions: str
    queries: dict[str, str]


Source = Annotated[FlightsSource | DemandSource | FilesSource | SqlSource, Field(discriminator="kind")]


class Tracking(Strict):
    """MLflow: the database or server that runs are mirrored to; if not `required`, a failure is only a warning."""

    uri: Annotated[str, Field(min_length=1)]
    experiment: Annotated[str, Field(min_length=1)]
    required: bool = True

    @property
    def address(self) -> str:
        """`uri`, or the variable MLFLOW_TRACKING_URI if it is set; it may contain credentials."""
        return os.environ.get("MLFLOW_TRACKING_URI") or self.uri


class Compute(Strict):
    """Device, processes, machines and memory of the training."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: Count = 2
    processes: Count = 1
    memory_gb: Positive = 8
    nodes: Count = 1
    rendezvous: Annotated[str, Field(pattern=r"^[^:/]+:[0-9]+$")] | None = None


class Cluster(Strict):
    """Kubernetes with Kubeflow Trainer 2; `volume` is a claim with the checkout, which every machine mounts."""

    image: Annotated[str, Field(min_length=1, max_length=500)]
    volume: Annotated[str, Field(min_length=1)]
    namespace: str = "default"
    runtime: str = "torch-distributed"
    resources: dict[str, str | int | float] = Field(default_factory=dict)


class Ray(Strict):
    """An existing Ray cluster; each training process gets `compute.threads` CPUs and `gpus` GPUs of a machine."""

    address: Annotated[str, Field(min_length=1)]
    gpus: Annotated[float, Field(ge=0)] = 0

    @property
    def head(self) -> str:
        """`address`, or the variable RAY_ADDRESS if it is set."""
        return os.environ.get("RAY_ADDRESS") or self.address


class Image(Strict):
    """The service's container; `repository` is the registry and name that it is pushed to, without a tag."""

    repository: Annotated[str, Field(pattern=r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$")]


class PredictionLog(Strict):
    """The log of answers, newline-delimited JSON in segments; `sample` is the share of requests that are logged.

    With `drift`, `make drift` compares the logged rows and scores, not all rows that the source delivers.
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
        """`folder`, or the variable PREDICTIONS_FOLDER if it is set, as for the volume of a container."""
        return Path(os.environ.get("PREDICTIONS_FOLDER") or self.folder)


class Serving(Strict):
    """Limits of the service; beyond them it answers 408, 413, 422 or 503, and keeps running.

    After SIGTERM it reports that it is not ready, and still answers for `drain_seconds`, which is longer than idle
    connections are kept (5 s).
    """

    max_rows: Count = 1000
    max_concurrency: Count = 64
    body_seconds: Positive = 5
    drain_seconds: Annotated[float, Field(ge=0, le=15)] = 6
    log: PredictionLog = PredictionLog()


class Infra(Strict):
    """The whole of infra.yaml; no file in `ml/` reads any of it."""

    source: Source
    tracking: Tracking
    compute: Compute = Compute()
    cluster: Cluster | None = None
    ray: Ray | None = None
    image: Image | None = None
    advisories: Annotated[str, Field(pattern=r"^https?://")] = "https://api.osv.dev/v1/query"
    serving: Serving = Serving()


def infra() -> Infra:
    """Return the settings of infra.yaml."""
    return load(INFRA, Infra)


# GitHub's rules for names of variables and secrets.
Name = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]
Colour = Annotated[str, Field(pattern=r"^[0-9a-f]{6}$")]


class MainBranch(Strict):
    """The ruleset of the default branch; `bypass_apps` are ids of GitHub Apps that may push past it."""

    required_check: Annotated[str, Field(min_length=1)] = "verdict"
    freshness: Literal["up_to_date", "merge_queue"] = "up_to_date"
    approvals: Annotated[int, Field(ge=0, le=10)] = 1
    code_owner_review: bool = True
    bypass_apps: list[Count] = Field(default_factory=list)


class Actions(Strict):
    """What every workflow may do, and whose pull requests start one."""

    default_permissions: Literal["read", "write"] = "read"
    may_open_pull_requests: bool = True
    public_forks: Literal[
        "all_external_contributors", "first_time_contributors", "first_time_contributors_new_to_github"
    ] = "all_external_contributors"
    private_forks: Literal["off", "approval"] = "off"


class Secrets(Strict):
    """Names of secrets: those that must be set, and those that some settings need; never a value."""

    secrets: list[Name] = Field(default_factory=list)
    optional_secrets: list[Name] = Field(default_factory=list)


class Environment(Secrets):
    """An environment of Actions, the branches whose jobs may use it, and the secrets that nobody else may read."""

    branches: Annotated[list[str], Field(min_length=1)] = Field(default_factory=lambda: [DEFAULT_BRANCH])


class Label(Strict):
    """A label of issues and pull requests."""

    color: Colour
    description: Annotated[str, Field(max_length=100)] = ""


class Security(Strict):
    """GitHub's own checks; what costs extra or does not exist in a private repository can be left to public ones."""

    scan_for_secrets: bool | Literal["if_public"] = "if_public"
    private_vulnerability_reporting: Literal[False, "if_public"] = "if_public"
    dependabot_alerts: bool = True


class Repository(Secrets):
    """The whole of .github/settings.yaml; a variable is a text, or a list, which is stored as JSON."""

    default_branch: MainBranch = MainBranch()
    actions: Actions = Actions()
    environments: dict[str, Environment] = Field(default_factory=dict)
    labels: dict[Annotated[str, Field(min_length=1, max_length=50)], Label] = Field(default_factory=dict)
    variables: dict[Name, str | list[str]] = Field(default_factory=dict)
    security: Security = Security()

    @model_validator(mode="after")
    def _check_places(self) -> Self:
        for name, value in self.variables.items():
            if name.endswith("_RUNNER") and not (isinstance(value, list) and value and all(map(str.strip, value))):
                raise ValueError(f"variables.{name} must be a list of labels, such as [self-hosted, linux, x64, gpu]")
        both = {*self.secrets, *self.optional_secrets} & self.restricted
        if exposed := sorted(both - {"MLFLOW_TRACKING_PASSWORD"}):
            raise ValueError(f"{exposed[0]} is a secret of an environment, so it must not be one of the repository too")
        return self

    @property
    def restricted(self) -> set[str]:
        """Return the names of secrets that belong to an environment."""
        every = self.environments.values()
        return {name for environment in every for name in (*environment.secrets, *environment.optional_secrets)}


def repository() -> Repository:
    """Return the settings of .github/settings.yaml."""
    return load(REPOSITORY, Repository)
