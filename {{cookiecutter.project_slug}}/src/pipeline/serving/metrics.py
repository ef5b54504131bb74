"""What Prometheus is told of the model, beside BentoML's own figures of requests."""

from typing import Any

import bentoml
import numpy as np
from numpy.typing import NDArray

from .identity import Identity

BINS = 10


class ModelMetrics:
    """Rows by score, their sum, refused requests, and gauges that say which model this is and how old its data."""

    def __init__(self, identity: Identity, until: float | None) -> None:
        scores = bentoml.metrics.Counter("model_scores", "Rows scored, by the lower edge of their score", ["bin"])
        self._bins: list[Any] = [scores.labels(bin=f"{edge / BINS:g}") for edge in range(BINS)]
        self._sum = bentoml.metrics.Counter("model_score_sum", "Sum of all scores; over the rows it is their mean")
        self.refused = bentoml.metrics.Counter("model_refused", "Requests refused, by status", ["status"])
        names = list(identity.labels())
        info = bentoml.metrics.Gauge("model_info", "Always 1: which model answers", names, multiprocess_mode="max")
        info.labels(**identity.labels()).set(1)
        if until is not None:
            data = "model_data_until_timestamp_seconds"
            bentoml.metrics.Gauge(data, "Newest event in the history", multiprocess_mode="max").set(until)

    def scored(self, scores: NDArray[np.float32]) -> None:
        """Count the scores of one answer, shape (N,)."""
        counts = np.bincount(np.minimum((scores * BINS).astype(np.int64), BINS - 1), minlength=BINS)
        for place in counts.nonzero()[0]:
            self._bins[place].inc(int(counts[place]))
        self._sum.inc(float(scores.sum()))
