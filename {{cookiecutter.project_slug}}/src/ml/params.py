"""What params.yaml may hold: each key, its type and range. No defaults: what a model was made with is written down."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    """A key that nothing reads is a typo, and a number is a number: what DVC records is what the model is made with."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Features(Strict):
    """What a feature row looks back on."""

    late_minutes: Annotated[int, Field(ge=0, le=600)]
    weather_lag_hours: Annotated[int, Field(ge=1, le=48)]
    history_hours: Annotated[int, Field(ge=1, le=48)]
    # The stage hands over one month before: 28 days in February, less the two that a flight may leave late, by the
    # contract, and the one until its arrival counts as known.
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
    """All of params.yaml."""

    features: Features
    train: Train
