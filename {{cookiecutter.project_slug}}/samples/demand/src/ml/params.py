"""The keys of params.yaml with their types and ranges; the file explains what each key does.

No key has a default, so that params.yaml records every value that a model was made with.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    """Refuse unknown keys and values of another type, so that what DVC records is what the model is made with."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Features(Strict):
    """When a forecast is made."""

    horizon_hours: Annotated[int, Field(ge=1, le=47)]  # the history looks back two days at least


class Train(Strict):
    """Network and optimiser."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    epochs: Count
    batch_rows: Count
    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    weight_decay: Rate
    dropout: Rate
    width: Count
    bins: Annotated[int, Field(ge=2, le=256)]
    embedding: Count


class Params(Strict):
    """The whole of params.yaml."""

    features: Features
    train: Train
