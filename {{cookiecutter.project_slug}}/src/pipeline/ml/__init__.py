"""The model and its data: what a data scientist edits, and nothing else.

`stages/` and `ops/` know this package only by the names below, so another data set and another kind of model are a
change of this folder, `params.yaml`, `gates.yaml` and the data source. `dvc.yaml` runs a stage again when its part
changed: `schema.py`, `features/`, `model/`, `metrics.py`. Tables and tensors in, tables and tensors out: nothing here
reads files, networks or settings.
"""

from .features import LABEL, build_features, derive
from .features.history import History, build_history
from .metrics import METRICS, Metric
from .model import predict, score, train
from .params import Params
from .schema import TABLES

__all__ = [
    "LABEL",
    "METRICS",
    "TABLES",
    "History",
    "Metric",
    "Params",
    "build_features",
    "build_history",
    "derive",
    "predict",
    "score",
    "train",
]
