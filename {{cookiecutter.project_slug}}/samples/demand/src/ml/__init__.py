"""The demand project: predict, a day ahead, how many people pass each counter in an hour, with an interval.

Read in this order: `schema` (the table), `features` and `history` (a row per counter and hour), `model` (the network
and its training), `params` (the keys of params.yaml).

`project` registers all of it. pyproject.toml names `project` under [tool.mergeworthy], and the engine calls this
package through it alone. The code here computes from tables and tensors: it opens no file and no connection.
"""

from mergeworthy import Online, Project, Regression

from .features import NOT_INPUTS, QUANTILES, TARGET, build_features, derive, label
from .history import build_history
from .params import Params

project = Project(
    task=Regression(TARGET, label, unit="people an hour", quantiles=QUANTILES),
    tables="ml.schema:TABLES",
    params=Params,
    features=build_features,
    train="ml.model:train",
    time="time",
    not_inputs=NOT_INPUTS,
    online=Online(build_history, derive),
)
