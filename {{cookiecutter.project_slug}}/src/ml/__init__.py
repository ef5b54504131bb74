"""The flights project: predict whether a flight arrives late, from what is known at its scheduled departure.

Read in this order: `schema` (the tables), `features` and `history` (a row per flight), `model` (the network and its
training), `params` (the keys of params.yaml).

`project` registers all of it. pyproject.toml names `project` under [tool.mergeworthy], and the engine calls this
package through it alone. The code here computes from tables and tensors: it opens no file and no connection.
"""

from mergeworthy import Binary, Online, Project

from .features import NOT_INPUTS, TARGET, build_features, derive, label
from .history import build_history
from .params import Params

project = Project(
    task=Binary(TARGET, label),
    tables="ml.schema:TABLES",
    params=Params,
    features=build_features,
    train="ml.model:train",
    time="sched_dep",
    not_inputs=NOT_INPUTS,
    online=Online(build_history, derive),
)
