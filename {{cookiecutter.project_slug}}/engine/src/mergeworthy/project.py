"""The one registration of a team's code: what is predicted, from which tables, by which functions."""

import importlib
import os
import sys
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import polars as pl
from pydantic import BaseModel

from .dataset import Compute, Dataset, split_inputs
from .errors import UserError
from .history import History
from .stats.metric import Metric
from .tasks.binary import Binary

if TYPE_CHECKING:
    from pandera.polars import DataFrameSchema

PYPROJECT = Path("pyproject.toml")
TABLE = "[tool.mergeworthy]"
EXAMPLE = f'{PYPROJECT}: {TABLE} needs project = "ml:project", the module and the name of the registration'

Tables = Mapping[str, pl.LazyFrame]


@dataclass(frozen=True)
class Online:
    """Features at serving time, made by the same functions as for training.

    `history` returns what becomes known over time, by name, from the tables; `derive` returns the inputs that follow
    from a row and its history, from a mapping of columns: polars expressions in training, numpy arrays of shape (N,)
    in the service.
    """

    history: Callable[[Tables, Any], dict[str, History]]
    derive: Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Project:
    """What the engine knows of a team's code.

    `tables` are the contract: name → pandera schema; the first is the main table, whose rows are the examples and
    whose `unique` columns are the key. `features` returns one row per row of the main table, with key, target and
    inputs. `time` is the column of the main table that says when a row was; None if partitions are not of time.
    `not_inputs` are feature columns that the model does not read. `train` returns the bytes of an ONNX file that takes
    inputs by column name. `tables` and `train` may be given as "module:name", which is imported only when it is
    needed: pandera and PyTorch take seconds, and the service has no PyTorch.
    """

    task: Binary
    tables: "Mapping[str, DataFrameSchema] | str"
    params: type[BaseModel]
    features: Callable[[Tables, Any], pl.LazyFrame]
    train: Callable[[Dataset, Any, Compute], bytes] | str
    time: str | None = None
    not_inputs: Collection[str] = ()
    online: Online | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise `UserError` naming the first argument of a wrong type."""
        expected = {
            "task": (isinstance(self.task, Binary), 'a task, such as Binary("late", …)'),
            "tables": (isinstance(self.tables, Mapping | str), 'a mapping of tables, or "module:name" of one'),
            "params": (
                isinstance(self.params, type) and issubclass(self.params, BaseModel),
                "a class derived from pydantic.BaseModel",
            ),
            "features": (callable(self.features), "a function of (tables, params)"),
            "train": (callable(self.train) or isinstance(self.train, str), 'a function, or "module:name" of one'),
            "time": (self.time is None or isinstance(self.time, str), "the name of a column, or None"),
            "not_inputs": (
                not isinstance(self.not_inputs, str) and all(isinstance(name, str) for name in self.not_inputs),
                "a set of names of columns",
            ),
            "online": (self.online is None or isinstance(self.online, Online), "an Online, or None"),
            "metrics": (
                all(isinstance(metric, Metric) for metric in dict(self.metrics).values()),
                "a mapping of names to Metric",
            ),
        }
        for name, (right, what) in expected.items():
            if not right:
                raise UserError(f"Project({name}=…): expected {what}, got {getattr(self, name)!r}")

    @property
    def target(self) -> str:
        """Name of the column that is predicted."""
        return self.task.target

    @cached_property
    def all_metrics(self) -> dict[str, Metric]:
        """The task's metrics and the project's own, by name."""
        return {**self.task.metrics, **self.metrics}

    @cached_property
    def schemas(self) -> "dict[str, DataFrameSchema]":
        """The contract of every table by name, the main one first."""
        found = _named(self.tables, "tables") if isinstance(self.tables, str) else self.tables
        if not isinstance(found, Mapping) or not found:
            raise UserError(f"Project(tables=…): expected at least one table by name, got {found!r}")
        return dict(found)

    @property
    def main(self) -> str:
        """Name of the main table, whose rows are the examples."""
        return next(iter(self.schemas))

    @property
    def schema(self) -> "DataFrameSchema":
        """The contract of the main table."""
        return self.schemas[self.main]

    @property
    def key(self) -> list[str]:
        """The columns of the main table that name a row; raise `UserError` if the contract names none."""
        if not self.schema.unique:
            raise UserError(f"the contract of {self.main}: the main table needs a key: unique=[…] names its columns")
        return list(self.schema.unique)

    def inputs(self, columns: Mapping[str, pl.DataType]) -> tuple[list[str], list[str]]:
        """Return the names of the model's categories and numbers among feature columns."""
        return split_inputs(columns, {*self.not_inputs, self.target})

    def dataset(self, parts: list[pl.LazyFrame]) -> Dataset:
        """Return feature rows as the training function takes them."""
        return Dataset(parts, self.target, frozenset({*self.not_inputs, self.target}))

    def build_features(self, tables: Tables, params: BaseModel) -> pl.LazyFrame:
        """Call `features`; raise `UserError` if it does not return a lazy frame."""
        rows = self.features(tables, params)
        if not isinstance(rows, pl.LazyFrame):
            raise UserError(f"{_name(self.features)} must return a polars LazyFrame, got {type(rows).__name__}")
        return rows

    def build_history(self, tables: Tables, params: BaseModel) -> dict[str, History]:
        """Return every history by name; none if the features of a row need no other rows."""
        if self.online is None:
            return {}
        found = self.online.history(tables, params)
        if not isinstance(found, Mapping) or not all(isinstance(each, History) for each in found.values()):
            raise UserError(f"{_name(self.online.history)} must return a mapping of names to History, got {found!r}")
        return dict(found)

    def derive(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs that follow from a row and its history."""
        return self.online.derive(known) if self.online else {}

    def fit(self, data: Dataset, params: BaseModel, compute: Compute) -> bytes:
        """Train, and return the ONNX file's bytes; raise `UserError` if the training function returns anything else."""
        train = _named(self.train, "train") if isinstance(self.train, str) else self.train
        if not callable(train):
            raise UserError(f"Project(train={self.train!r}): expected a function of (data, params, compute)")
        model = train(data, params, compute)
        if not isinstance(model, bytes):
            raise UserError(f"{_name(train)} must return the bytes of an ONNX file, got {type(model).__name__}")
        return model


def registered() -> Project:
    """Return the project that pyproject.toml names under [tool.mergeworthy]; raise `UserError` if there is none.

    It is looked for once, in the folder that is the current one at the first call.
    """
    return _registration()[0]


def team_code() -> list[Path]:
    """Return the files of the package that holds the registration, sorted: the team's own code."""
    _, module = _registration()
    return sorted(Path(cast("str", sys.modules[module].__file__)).parent.rglob("*.py"))


@cache
def _registration() -> tuple[Project, str]:
    """Return the registered project, and the name of the module that it is in."""
    try:
        content = tomllib.loads(PYPROJECT.read_text())
    except FileNotFoundError:
        raise UserError(f"{Path.cwd()} holds no {PYPROJECT}: run this in the project's folder") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{PYPROJECT} cannot be read: {' '.join(str(error).split())}") from None
    table = content.get("tool", {})
    table = table.get("mergeworthy") if isinstance(table, dict) else None
    reference = table.get("project") if isinstance(table, dict) else None
    if not isinstance(reference, str) or reference.count(":") != 1:
        raise UserError(EXAMPLE)
    found = _import(reference, f'{PYPROJECT}: {TABLE} project = "{reference}"')
    if not isinstance(found, Project):
        raise UserError(
            f"{reference} must be a mergeworthy.Project, and is {type(found).__name__}: see src/ml/__init__.py"
        )
    return found, reference.partition(":")[0]


def _named(reference: str, argument: str) -> Any:
    if reference.count(":") != 1:
        raise UserError(f'Project({argument}={reference!r}): expected "module:name"')
    return _import(reference, f"Project({argument}={reference!r})")


def _import(reference: str, where: str) -> Any:
    """Import "module:name"; raise `UserError` that begins with `where` if there is no such module or name."""
    module, _, name = reference.partition(":")
    source = os.path.abspath("src")  # noqa: PTH100 - as it stands on sys.path
    if source not in sys.path:
        sys.path.insert(0, source)
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise UserError(
                f"{where}: {module} imports {error.name}, which is not installed: run `make setup`"
            ) from None
        raise UserError(f"{where}: there is no module {error.name} in src/") from None
    except AttributeError as error:
        if getattr(error, "name", None) != name:
            raise
        raise UserError(f"{where}: the module {module} has no {name}") from None


def _name(function: Any) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', function)}"
