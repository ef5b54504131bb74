"""The identity of the served model, and the metrics about it.

The identity is read once, at the start; every answer, `/model` and `/metrics` report it. BentoML counts requests.
"""

import os
import shutil
import subprocess
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import accumulate

import prometheus_client
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from ..files import LOCK, MODEL, md5
from ..project import registered

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
        self._scores = ScoreHistogram()
        prometheus_client.REGISTRY.register(self._scores)
        self.refused = prometheus_client.Counter("model_refused", "Requests refused, by status", ["status"])
        self.lost = prometheus_client.Counter("model_log_lost", "Answers that the prediction log could not take")
        info = prometheus_client.Gauge("model_info", "Always 1: which model answers", list(identity.labels()))
        info.labels(**identity.labels()).set(1)
        if until is not None:
            name = "model_data_until_timestamp_seconds"
            prometheus_client.Gauge(name, "Newest event in the history").set(until)

    def scored(self, scores: list[float]) -> None:
        """Count what the task observes of one answer."""
        self._scores.count(scores)


class ScoreHistogram(Collector):
    """The histogram `model_score`: prometheus_client's takes two microseconds a score, as each takes its lock."""

    def __init__(self) -> None:
        self._edges = registered().task.histogram_edges
        self._counts, self._sum = [0] * (len(self._edges) + 1), 0.0

    def count(self, scores: list[float]) -> None:
        """Add scores; one thread alone may call this."""
        counts, edges = self._counts, self._edges
        for score in scores:
            counts[bisect_left(edges, score)] += 1
        self._sum += sum(scores)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histogram as it is now."""
        edges = [*map(str, self._edges), "+Inf"]
        counts = zip(edges, accumulate(self._counts), strict=True)
        yield HistogramMetricFamily("model_score", "Scores of the rows", list(counts), self._sum)
