"""The model and its data: what a data scientist edits, and nothing else.

`stages/` and `ops/` know this package only by the names below, so another data set and another kind of model are a
change of this folder, `params.yaml`, `gates.yaml` and the data source. `dvc.yaml` runs a stage again when its part
changed: `schema.py`, `features.py`, `model/`, `metrics.py`. Tables and tensors in, tables and tensors out: nothing here
reads files, networks or settings.
"""

from .features import LABEL, build_features
from .metrics import METRICS, Metric
from .model import predict, train
from .params import Params
from .schema import TABLES

__all__ = ["LABEL", "METRICS", "TABLES", "Metric", "Params", "build_features", "predict", "train"]
