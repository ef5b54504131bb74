"""Names of metrics in settings: one that ml/metrics.py has, and one with a better and a worse end."""

from typing import Annotated

from pydantic import AfterValidator

from ..ml.metrics import METRICS


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
