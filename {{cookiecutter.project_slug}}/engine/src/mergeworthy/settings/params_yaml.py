"""params.yaml: what the model is made with. The project declares its keys, beside the model."""

from pathlib import Path

from pydantic import BaseModel

from ..project import registered
from .strict import load

PARAMS = Path("params.yaml")


def params() -> BaseModel:
    """Return what the model is made with."""
    return load(PARAMS, registered().params)
