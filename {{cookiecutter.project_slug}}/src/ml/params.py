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
    """Label and features."""

    late_minutes: Annotated[int, Field(ge=0, le=600)]
    weather_lag_hours: Annotated[int, Field(ge=1, le=48)]
    history_hours: Annotated[int, Field(ge=1, le=48)]
    # A feature row sees the month before, which has at least 28 days. A flight may leave up to 2 days late (see
    # schema.py), and its arrival counts as known 1 day later: 25 days remain.
    history_days: Annotated[int, Field(ge=1, le=25)]


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
    minimum_category_rows: Count


class Params(Strict):
    """The whole of params.yaml."""

    features: Features
    train: Train
