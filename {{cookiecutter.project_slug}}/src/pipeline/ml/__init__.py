"""The model and its data: what a data scientist edits, and nothing else.

`stages/` and `ops/` know this package only by the names below, and by `schema.TABLES`, apart because pandera takes as
long to import as all else together. So another data set and another kind of model are a change of this folder,
`params.yaml`, `gates.yaml` and the data source. `dvc.yaml` runs a stage again when its part changed: `schema.py`,
`features/`, `model/`, `metrics.py`. Tables and tensors in, tables and tensors out: nothing here reads files, networks
or settings.
"""

from .features import LABEL, TIME, build_features, derive, label
from .features.history import History, build_history
from .metrics import METRICS, Metric
from .model import predict, score, train
from .params import Params

__all__ = [
    "LABEL",
    "METRICS",
    "TIME",
    "History",
    "Metric",
    "Params",
    "build_features",
    "build_history",
    "derive",
    "label",
    "predict",
    "score",
    "train",
]
