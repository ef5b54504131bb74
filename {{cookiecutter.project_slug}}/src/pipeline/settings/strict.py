"""What every settings file shares: strict types, and errors that name file and key."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import strict_yaml
from ..errors import UserError

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """Unknown keys are mistakes: a typo must never switch a check off."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def load(path: Path, model: type[Model]) -> Model:
    """Read one settings file; raise `UserError` naming the file, the key and what was expected."""
    try:
        return model.model_validate(strict_yaml.read(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "(top level)"
        raise UserError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from None
