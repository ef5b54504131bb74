"""What Prometheus is told of the model, beside BentoML's own figures of requests."""

import bentoml

from .identity import Identity

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
