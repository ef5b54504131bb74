"""params.yaml: what the model is made with. Its keys are declared beside the model, in `ml/params.py`."""

from pathlib import Path

from ..ml.params import Params
from .strict import load

PARAMS = Path("params.yaml")


def params() -> Params:
    """Return what the model is made with."""
    return load(PARAMS, Params)
