"""The model and its data: what a data scientist edits, and nothing else.

The rest of the project knows this package only by the names below, and by `schema.TABLES`, apart because pandera takes
as long to import as all else together. So another data set and another kind of model are a change of this folder,
`params.yaml`, `gates.yaml` and the data source. Stages take a name from the part that defines it (`features`, `model`,
`metrics`, `params`, `schema`), and `dvc.yaml` runs a stage again when one of its parts changed. Tables and tensors in,
tables and tensors out: nothing here reads files, networks or settings.
"""

from .features import LABEL, TIME, History, build_features, build_history, derive, label
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
