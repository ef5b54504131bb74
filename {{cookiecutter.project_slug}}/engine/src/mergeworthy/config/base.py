"""What every settings file shares, and the two small ones: params.yaml and sweep.yaml."""

from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .. import files, project
from ..errors import UserError
from ..project import registered

# DOC config.base: What every settings file shares: strict types, and errors that name file and key.

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


# DOC config.metric: Names of metrics in settings: one that the project has, and one with a better and a worse end.


def _known(metric: str) -> str:
    if metric not in registered().all_metrics:
        raise ValueError(f"no such metric, the project has {', '.join(registered().all_metrics)}")
    return metric


def _directed(metric: str) -> str:
    if registered().all_metrics[_known(metric)].greater_is_better is None:
        raise ValueError("a value in between is best, so there is no worse by a margin: give it a floor instead")
    return metric


MetricName = Annotated[str, AfterValidator(_known)]
DirectedMetric = Annotated[str, AfterValidator(_directed)]


# DOC config.params: params.yaml: what the model is made with. The project declares its keys, beside the model.

PARAMS = Path("params.yaml")


def params() -> BaseModel:
    """Return what the model is made with."""
    model = registered().params
    with project.running(model):  # a validator is the team's own code
        return load(PARAMS, model)


# DOC config.sweep: sweep.yaml: what a search over params.yaml tries.

SWEEP = Path("sweep.yaml")


class Range(Strict):
    """Numbers from `low` to `high`, both included; whole ones where params.yaml holds a whole one."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("a log scale begins above 0")
        return self

    def extremes(self, *, whole: bool) -> list[Any]:
        """The lowest and the highest value."""
        return [int(end) if whole else end for end in (self.low, self.high)]


class Choices(Strict):
    """These values and no others."""

    choices: Annotated[list[float | int | str | bool], Field(min_length=2)]

    def extremes(self, *, whole: bool) -> list[Any]:  # noqa: ARG002 (as of a range)
        """All of them: among choices there is no order."""
        return self.choices


Search = Annotated[dict[str, Range | Choices], Field(min_length=1)]


class Sweep(Strict):
    """The whole file."""

    metric: DirectedMetric
    trials: Count
    seed: Annotated[int, Field(ge=0)] = 0
    search: Search


def sweep() -> Sweep:
    """Return what a search tries."""
    return load(SWEEP, Sweep)
