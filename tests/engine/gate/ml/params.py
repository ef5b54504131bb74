"""The keys of params.yaml."""

from pydantic import BaseModel, ConfigDict


class Features(BaseModel):
    """Parameters of the label and the features; nothing depends on `history_hours`."""

    model_config = ConfigDict(extra="forbid")

    late_minutes: int
    weather_lag_hours: int
    history_hours: int


class Params(BaseModel):
    """All of params.yaml."""

    model_config = ConfigDict(extra="forbid")

    features: Features
