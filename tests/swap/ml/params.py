"""What params.yaml may hold."""

from pydantic import BaseModel, ConfigDict


class Features(BaseModel):
    """How the table is cut for the gate's bootstrap."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    batch_rows: int


class Train(BaseModel):
    """The inverse strength of the L2 penalty."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    inverse_penalty: float


class Params(BaseModel):
    """All of params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    features: Features
    train: Train
