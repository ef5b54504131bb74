"""params.yaml: what the model is made with. The project declares its keys, beside the model."""

from pathlib import Path

from pydantic import BaseModel

from .. import team
from ..project import registered
from .base import load

PARAMS = Path("params.yaml")


def params() -> BaseModel:
    """Return what the model is made with."""
    model = registered().params
    with team.running(model):  # a validator is the team's own code
        return load(PARAMS, model)
