"""The identity of the served model, and the metrics about it.

The identity is read once, at the start; every answer, `/model` and `/metrics` report it. BentoML counts requests.
"""

import os
import shutil
import subprocess
from dataclasses import asdict, dataclass

import bentoml

from ..files import LOCK, MODEL, md5
from ..project import registered
from ..stats import Floats

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Identity:
    """Commit, registered version, MD5 of `dvc.lock` and of the model; `unknown` if not to be determined."""

    commit: str
    version: str
    lock: str
    model: str

    def labels(self) -> dict[str, str]:
        """Return the fields by name."""
        return asdict(self)


def read_identity() -> Identity:
    """Return the identity from files and git; MODEL_COMMIT, MODEL_LOCK and MODEL_VERSION replace them in an image."""
    return Identity(
        commit=os.environ.get("MODEL_COMMIT") or _head() or UNKNOWN,
        version=os.environ.get("MODEL_VERSION") or UNKNOWN,
        lock=os.environ.get("MODEL_LOCK") or (md5(LOCK) if LOCK.exists() else UNKNOWN),
        model=md5(MODEL),
    )


def _head() -> str:
    if shutil.which("git") is None:
        return ""
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()


class ModelMetrics:
    """Metrics of the model: scores, refused requests, answers missing from the log, identity, age of the data."""

    def __init__(self, identity: Identity, until: float | None) -> None:
        self._score = bentoml.metrics.Histogram(
            "model_score", "Scores of the rows", buckets=registered().task.histogram_edges
        )
        self.refused = bentoml.metrics.Counter("model_refused", "Requests refused, by status", ["status"])
        self.lost = bentoml.metrics.Counter("model_log_lost", "Answers that the prediction log could not take")
        names = list(identity.labels())
        info = bentoml.metrics.Gauge("model_info", "Always 1: which model answers", names, multiprocess_mode="max")
        info.labels(**identity.labels()).set(1)
        if until is not None:
            name = "model_data_until_timestamp_seconds"
            bentoml.metrics.Gauge(name, "Newest event in the history", multiprocess_mode="max").set(until)

    def scored(self, scores: Floats) -> None:
        """Count what the task observes of one answer, shape (N,)."""
        for score in scores.tolist():
            self._score.observe(score)
