"""What params.yaml may hold."""

from pydantic import BaseModel, ConfigDict


class Features(BaseModel):
    """How the table is cut for the gate's bootstrap."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    batch_rows: int


class Train(BaseModel):
    """The inverse strength of the L2 penalty."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    inverse_penalty: float


class Params(BaseModel):
    """All of params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    features: Features
    train: Train
