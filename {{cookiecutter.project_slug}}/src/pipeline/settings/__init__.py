"""params.yaml, gates.yaml and infra.yaml as typed, validated settings.

What the model may be tuned by is declared beside the model, in `ml/params.py`.
"""

from pathlib import Path

from ..ml import Params
from .drift import Drift
from .gates_yaml import Accepted, Bootstrap, Bound, Champion, Cost, Gates, ImageLimits, Slices
from .infra_yaml import (
    Cluster,
    Compute,
    FilesSource,
    FlightsSource,
    Image,
    Infra,
    PredictionLog,
    Ray,
    Serving,
    Source,
    SqlSource,
    Tracking,
)
from .strict import load
from .sweep_yaml import Range, Search, Sweep

__all__ = [
    "GATES",
    "INFRA",
    "PARAMS",
    "SWEEP",
    "Accepted",
    "Bootstrap",
    "Bound",
    "Champion",
    "Cluster",
    "Compute",
    "Cost",
    "Drift",
    "FilesSource",
    "FlightsSource",
    "Gates",
    "Image",
    "ImageLimits",
    "Infra",
    "PredictionLog",
    "Range",
    "Ray",
    "Search",
    "Serving",
    "Slices",
    "Source",
    "SqlSource",
    "Sweep",
    "Tracking",
    "gates",
    "infra",
    "params",
]

PARAMS, GATES, INFRA, SWEEP = Path("params.yaml"), Path("gates.yaml"), Path("infra.yaml"), Path("sweep.yaml")


def params() -> Params:
    """What the model is made with."""
    return load(PARAMS, Params)


def gates() -> Gates:
    """What a model must show."""
    return load(GATES, Gates)


def infra() -> Infra:
    """Where things run."""
    return load(INFRA, Infra)


def sweep() -> Sweep:
    """What a search tries."""
    return load(SWEEP, Sweep)
