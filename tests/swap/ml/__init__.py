"""Another data set and another kind of model: scikit-learn's breast-cancer table and a logistic regression."""

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
