"""What every settings file shares: strict types, and errors that name file and key."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import files
from ..errors import UserError

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Strict(BaseModel):
    """Unknown keys are mistakes: a typo must never switch a check off. A number is never a text or a yes or no."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


Model = TypeVar("Model", bound=BaseModel)


def load(path: Path, model: type[Model]) -> Model:
    """Read one settings file; raise `UserError` naming the file, the key and what was expected."""
    content = files.read_yaml(path)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {files.explain(error, content)}") from None
