"""The flights project: whether a flight arrives late, as known at its scheduled departure.

`project` is the one registration: pyproject.toml names it under [tool.mergeworthy], and the engine knows this package
only by it. Tables and tensors in, tables and tensors out: nothing here reads files, networks or settings.
"""

from mergeworthy import Binary, Online, Project

from .features import LABEL, NOT_INPUTS, build_features, derive, label
from .history import build_history
from .params import Params

project = Project(
    task=Binary(LABEL, label),
    tables="ml.schema:TABLES",
    params=Params,
    features=build_features,
    train="ml.model:train",
    time="sched_dep",
    not_inputs=NOT_INPUTS,
    online=Online(build_history, derive),
)
