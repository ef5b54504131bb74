"""Another data set and another kind of model: scikit-learn's breast-cancer table and a logistic regression."""

from .features import LABEL, build_features
from .metrics import METRICS, Metric
from .model import predict, train
from .params import Params
from .schema import TABLES

__all__ = ["LABEL", "METRICS", "TABLES", "Metric", "Params", "build_features", "predict", "train"]
