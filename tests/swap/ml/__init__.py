"""Another data set and another kind of model: scikit-learn's breast-cancer table and a logistic regression."""

from mergeworthy import Binary, Project

from .features import LABEL, NOT_INPUTS, build_features, label
from .params import Params

project = Project(
    task=Binary(LABEL, label),
    tables="ml.schema:TABLES",
    params=Params,
    features=build_features,
    train="ml.model:train",
    not_inputs=NOT_INPUTS,
)
