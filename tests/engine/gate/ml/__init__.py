"""The code of the gate's test project: tests call it, and former commits run their own copy in `src/ml`."""

from mergeworthy import Binary, Project

from .features import NOT_INPUTS, TARGET, build_features, label
from .model import train
from .params import Params
from .schema import TABLES

project = Project(
    task=Binary(TARGET, label),
    tables=TABLES,
    params=Params,
    features=build_features,
    train=train,
    time="sched_dep",
    not_inputs=NOT_INPUTS,
)
