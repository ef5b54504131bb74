"""Names of metrics in settings: one that the project has, and one with a better and a worse end."""

from typing import Annotated

from pydantic import AfterValidator

from ..project import registered


def _known(metric: str) -> str:
    if metric not in registered().all_metrics:
        raise ValueError(f"no such metric, the project has {', '.join(registered().all_metrics)}")
    return metric


def _directed(metric: str) -> str:
    if registered().all_metrics[_known(metric)].greater_is_better is None:
        raise ValueError("a value in between is best, so there is no worse by a margin: give it a floor instead")
    return metric


MetricName = Annotated[str, AfterValidator(_known)]
DirectedMetric = Annotated[str, AfterValidator(_directed)]
