"""Which model answers, and the metrics that name it."""

import os
import shutil
import subprocess
from dataclasses import asdict, dataclass

import bentoml

from ..files import md5
from ..paths import LOCK, MODEL

# DOC serving.identity: Which model answers: read once, told by every answer, `/model` and `/metrics`.


@dataclass(frozen=True)
class Identity:
    """Commit, registered version, md5 of `dvc.lock` and of the model; `unknown` is what cannot be told here."""

    commit: str
    version: str
    lock: str
    model: str

    def labels(self) -> dict[str, str]:
        """As mapping."""
        return asdict(self)


def read() -> Identity:
    """Ask files and git; an image, which has no git, is told by MODEL_COMMIT, MODEL_LOCK and MODEL_VERSION."""
    return Identity(
        commit=os.environ.get("MODEL_COMMIT") or _head() or "unknown",
        version=os.environ.get("MODEL_VERSION") or "unknown",
        lock=os.environ.get("MODEL_LOCK") or (md5(LOCK) if LOCK.exists() else "unknown"),
        model=md5(MODEL),
    )


def _head() -> str:
    if shutil.which("git") is None:
        return ""
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()


# DOC serving.metrics: What Prometheus is told of the model, beside BentoML's own figures of requests.

EDGES = [edge / 10 for edge in range(1, 11)]


class ModelMetrics:
    """Scores (their count is the rows), refused requests, answers lost to the log; gauges of model and age of data."""

    def __init__(self, identity: Identity, until: float | None) -> None:
        self._score = bentoml.metrics.Histogram("model_score", "Scores of the rows", buckets=EDGES)
        self.refused = bentoml.metrics.Counter("model_refused", "Requests refused, by status", ["status"])
        self.lost = bentoml.metrics.Counter("model_log_lost", "Answers that the prediction log could not take")
        names = list(identity.labels())
        info = bentoml.metrics.Gauge("model_info", "Always 1: which model answers", names, multiprocess_mode="max")
        info.labels(**identity.labels()).set(1)
        if until is not None:
            data = "model_data_until_timestamp_seconds"
            bentoml.metrics.Gauge(data, "Newest event in the history", multiprocess_mode="max").set(until)

    def scored(self, scores: list[float]) -> None:
        """Count the scores of one answer."""
        for score in scores:
            self._score.observe(score)
