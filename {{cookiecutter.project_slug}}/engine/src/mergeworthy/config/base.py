"""What all settings files share (strict types, and errors that name file and key), and params.yaml and sweep.yaml."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_serializer, model_validator

from .. import files
from ..errors import UserError
from ..files import DVC_YAML

if TYPE_CHECKING:
    from ..stats import Metric

PARAMS = Path("params.yaml")
SWEEP = Path("sweep.yaml")

SHARE_OF_VALUE = re.compile(r"(\d+(?:\.\d+)?) ?%")
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Strict(BaseModel):
    """Refuse unknown keys, so that a typo never switches a check off, and convert no text or Boolean to a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


Model = TypeVar("Model", bound=BaseModel)


def load(path: Path, model: type[Model]) -> Model:
    """Read one settings file; raise `UserError` naming the file, the key and what was expected."""
    content = files.read_yaml(path)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {files.explain(error, content)}") from None


def _metrics() -> "Mapping[str, Metric]":
    """Return the project's metrics; numpy and polars, which the registration needs, are loaded only for them."""
    from ..project import registered

    return registered().all_metrics


def _check_metric(metric: str) -> str:
    if metric not in _metrics():
        raise ValueError(f"no such metric, the project has {', '.join(_metrics())}")
    return metric


def _check_directed(metric: str) -> str:
    if _metrics()[_check_metric(metric)].greater_is_better is None:
        raise ValueError("a value in between is best, so it cannot have a margin: give it a floor instead")
    return metric


# Names of metrics: any of the project's, and one of which greater, or smaller, is better.
MetricName = Annotated[str, AfterValidator(_check_metric)]
DirectedMetric = Annotated[str, AfterValidator(_check_directed)]


def params() -> BaseModel:
    """Return the parameters of features and model, from params.yaml."""
    from ..project import registered, running

    model = registered().params
    with running(model):  # its validators are the team's code
        return load(PARAMS, model)


class Margin(Strict):
    """How much worse a metric may be: a number in its unit, or a share of the value that it is compared with."""

    amount: Positive
    relative: bool = False

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, str) and (share := SHARE_OF_VALUE.fullmatch(value)):
            return {"amount": float(share[1]) / 100, "relative": True}
        if isinstance(value, float | int) and not isinstance(value, bool):
            return {"amount": float(value)}
        if isinstance(value, cls | dict):
            return value
        raise ValueError(f'expected a number above 0, or a share such as "5%", not {value!r}')

    @model_serializer
    def _write(self) -> float | str:
        return f"{100 * self.amount:g}%" if self.relative else self.amount

    def of(self, value: float) -> float:
        """Return the margin in the metric's unit, for a champion with this value."""
        return self.amount * abs(value) if self.relative else self.amount

    def __mul__(self, factor: float) -> "Margin":
        """Return a margin as many times as wide."""
        return self.model_copy(update={"amount": factor * self.amount})

    def __str__(self) -> str:
        return f"{100 * self.amount:g}%" if self.relative else f"{self.amount:g}"


def stage_params(stage: str) -> BaseModel:
    """Return the parameters for the team's code in a stage, which may read those that dvc.yaml lists for it."""
    return restrict(params(), stage)


def restrict(values: BaseModel, stage: str) -> BaseModel:
    """Return parameters without those that dvc.yaml does not list for a stage; reading one of them is a `UserError`.

    A change of such a parameter would not run the stage again. If dvc.yaml has no such stage, nothing is left out.
    """
    pipeline = files.read_yaml(DVC_YAML) if DVC_YAML.exists() else {}
    stages = pipeline.get("stages") if isinstance(pipeline, dict) else None
    for name, content in stages.items() if isinstance(stages, dict) else ():
        if isinstance(content, dict) and str(content.get("cmd", "")).endswith(f" mergeworthy.stages.{stage}"):
            listed = set[str]()
            for entry in content.get("params", []):
                if isinstance(entry, str):  # a key of params.yaml, or a whole file
                    listed.add(entry)
                elif str(PARAMS) in entry:
                    listed |= set(entry[str(PARAMS)] or [str(PARAMS)])
            return values if str(PARAMS) in listed else _restrict(values, listed, name)
    return values


def _restrict(values: BaseModel, listed: Collection[str], stage: str, prefix: str = "") -> BaseModel:
    hidden, sections = dict[str, str](), dict[str, BaseModel]()
    keys = {name: str(info.validation_alias or name) for name, info in type(values).model_fields.items()}
    for name, key in (keys | {name: name for name in values.model_extra or {}}).items():
        dotted, value = f"{prefix}{key}", getattr(values, name)
        if any(dotted == each or dotted.startswith(f"{each}.") for each in listed):
            continue
        if not any(each.startswith(f"{dotted}.") for each in listed):
            hidden[name] = dotted
        elif isinstance(value, BaseModel):
            sections[name] = _restrict(value, listed, stage, f"{dotted}.")
    if not hidden and not sections:
        return values

    def refuse(self: BaseModel, name: str) -> Any:
        if name in hidden:
            raise UserError(
                f"{DVC_YAML}: stages.{stage}.params: the stage reads {hidden[name]} of {PARAMS}, which is not listed: "
                "list it, or a change of it would not run the stage again"
            )
        return kind.__getattr__(self, name)  # type: ignore[attr-defined]  # pydantic hides it from type checkers

    kind = type(values)
    restricted = type(kind.__name__, (kind,), {"__module__": kind.__module__, "__getattr__": refuse})
    result = values.model_copy(update=sections)
    for name in hidden:
        (result.__dict__ if name in result.__dict__ else result.model_extra or {}).pop(name, None)
    object.__setattr__(result, "__class__", restricted)
    return result


class Range(Strict):
    """Numbers from `low` to `high`, both included; integers if the value in params.yaml is one."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("low must be above 0 on a log scale")
        return self

    def extremes(self, *, whole: bool) -> list[Any]:
        """Return the lowest and the highest value; integers if `whole`."""
        return [int(end) if whole else end for end in (self.low, self.high)]


class Choices(Strict):
    """A list of values."""

    choices: Annotated[list[float | int | str | bool], Field(min_length=2)]

    def extremes(self, *, whole: bool) -> list[Any]:  # noqa: ARG002 (as `Range.extremes`)
        """Return all values, because choices have no order."""
        return self.choices


Search = Annotated[dict[str, Range | Choices], Field(min_length=1)]


class Sweep(Strict):
    """sweep.yaml: what a search over params.yaml tries, and which metric it optimises."""

    metric: DirectedMetric
    trials: Count
    seed: Annotated[int, Field(ge=0)] = 0
    search: Search


def sweep() -> Sweep:
    """Return the settings of sweep.yaml."""
    return load(SWEEP, Sweep)
