"""params.yaml, gates.yaml and infra.yaml as typed, validated settings.

What the model may be tuned by is declared beside the model, in `ml/params.py`.
"""

from .drift import Drift
from .gates_yaml import (
    GATES,
    Accepted,
    Anchor,
    Bootstrap,
    Bound,
    Champion,
    Cost,
    Gates,
    ImageLimits,
    Plausibility,
    Provenance,
    Slices,
    gates,
    provenance,
)
from .infra_yaml import (
    INFRA,
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
    infra,
)
from .params_yaml import PARAMS, params
from .sweep_yaml import SWEEP, Range, Search, Sweep, sweep

__all__ = [
    "GATES",
    "INFRA",
    "PARAMS",
    "SWEEP",
    "Accepted",
    "Anchor",
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
    "Plausibility",
    "PredictionLog",
    "Provenance",
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
    "provenance",
    "sweep",
]
