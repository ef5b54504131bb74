"""The registration of a team's code, and what its functions receive and return.

What is predicted, from which tables, by which functions: the engine calls them through `Project`, which checks what
they return. What they raise becomes one line that names the team's file, line and function (`running`). `Dataset` and
`Compute` are for training. A `History` is a table of what becomes known over time: training joins it to all rows
(`asof`), and the service looks the same table up row by row.
"""

import importlib
import os
import sys
import tomllib
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel

from .errors import REFUSED, UserError
from .stats import Metric
from .tasks.base import Task

if TYPE_CHECKING:
    from pandera.polars import DataFrameSchema

TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum)


def split_inputs(columns: Mapping[str, pl.DataType], leave_out: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Return the names of the categories (text) and of the numbers among `columns`, without those in `leave_out`."""
    names = [name for name in columns if name not in leave_out]
    categories = [name for name in names if columns[name] in TEXT_TYPES]
    return categories, [name for name in names if name not in categories]


def as_numbers(targets: pl.Series) -> NDArray[Any]:
    """Return targets that are numbers, or true and false, as float32, shape (N,)."""
    return targets.cast(pl.Float32).to_numpy()


@dataclass(frozen=True)
class Dataset:
    """Feature rows to train on.

    If there are several `parts`, each is a random sample of all rows, and each epoch reads one after the other: they
    need not fit into memory together. `not_inputs` are the columns that the model must not read, `target` included.
    `targets` turns known targets into an array, shape (N,): float32, or int64 for the numbers of classes.
    """

    parts: Sequence[pl.LazyFrame]
    target: str
    not_inputs: frozenset[str]
    targets: Callable[[pl.Series], NDArray[Any]] = as_numbers

    @cached_property
    def rows(self) -> pl.LazyFrame:
        """Rows of all parts with a known target."""
        return pl.concat(self.parts).filter(pl.col(self.target).is_not_null())

    @cached_property
    def inputs(self) -> tuple[list[str], list[str]]:
        """Names of the categories (text) and of the numbers."""
        return split_inputs(self.parts[0].collect_schema(), self.not_inputs)

    @cached_property
    def count(self) -> int:
        """Number of rows with a known target."""
        counts = [part.select(pl.col(self.target).count()) for part in self.parts]
        return int(pl.concat(counts).sum().collect().item())


class Checkpoint(Protocol):
    """Storage for the state of one training."""

    def load(self) -> bytes | None:
        """Return the state that was saved last; None if none was saved."""

    def save(self, state: bytes) -> None:
        """Replace the saved state."""


def report_nothing(_: Mapping[str, float]) -> None:
    """Ignore the figures of an epoch."""


@dataclass(frozen=True)
class Compute:
    """Where and how to compute, as set in infra.yaml.

    `progress` is called with the figures of each epoch, `epoch` and `epochs` among them. `checkpoint` stores the state
    of the training, from which a killed training resumes.
    """

    device: str = "cpu"
    precision: str = "float32"
    threads: int = 2
    checkpoint: Checkpoint | None = None
    progress: Callable[[Mapping[str, float]], None] = report_nothing


@dataclass(frozen=True)
class History:
    """What is known of each key over time: `table` has the columns `by` (the key), `at` and values, sorted by `at`.

    The values of a row hold from just after `at` until the key's next row, and at most for `within`. If no row holds,
    an integer (a count) is 0, and any other value is missing.
    """

    by: list[str]
    table: pl.LazyFrame
    within: timedelta | None = None


def problem(history: object) -> str | None:
    """Return what is wrong with a `History`, and what is expected; None if it is valid."""
    if not isinstance(history, History):
        return f"expected a History, got a value of type {type(history).__name__}"
    if not isinstance(history.table, pl.LazyFrame):
        return f"the table of a History is a polars LazyFrame, got a value of type {type(history.table).__name__}"
    if isinstance(history.by, str) or not all(isinstance(name, str) for name in history.by):
        return f"`by` of a History is a list of names of columns, got {history.by!r}"
    columns = history.table.collect_schema()
    missing = [name for name in [*history.by, "at"] if name not in columns]
    return f"the table of a History needs the columns of `by` and `at`, and has no {missing[0]}" if missing else None


def asof(rows: pl.LazyFrame, time: str, history: History) -> pl.LazyFrame:
    """Join to each row what was known strictly before its `time`; `rows` must be sorted by `time`, and stay sorted.

    Raise `ValueError` if `history` is not a `History`, or lacks a column.
    """
    if wrong := problem(history):
        raise ValueError(wrong)
    joined = rows.join_asof(
        history.table,
        left_on=time,
        right_on="at",
        by=history.by,
        tolerance=history.within,
        allow_exact_matches=False,
        check_sortedness=False,
    )
    counts = [name for name, dtype in history.table.collect_schema().items() if dtype == pl.Int64]
    return joined.drop("at", strict=False).with_columns(pl.col(counts).fill_null(0))


PYPROJECT = Path("pyproject.toml")
TABLE = "[tool.mergeworthy]"
EXAMPLE = f'{PYPROJECT}: {TABLE} needs project = "ml:project", the module and the name of the registration'

LONGEST_MESSAGE = 300  # characters shown of the team's exception

Tables = Mapping[str, pl.LazyFrame]


@dataclass(frozen=True)
class Online:
    """The functions that make features at serving time, which are the same as for training.

    `history` takes the tables and returns every `History` by name. `derive` takes the columns of a row and its history
    by name, and returns the inputs computed from them. The columns are polars expressions in training, and numpy arrays
    of shape (N,) in the service.
    """

    history: Callable[[Tables, Any], dict[str, History]]
    derive: Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Project:
    """A team's code, as the engine sees it.

    `task` is what is predicted, with its metrics; `metrics` are further ones.
    `tables` is the data contract: a pandera schema for each table by name. The first is the main table: its rows are
    the examples, and its `unique` columns are the key.
    `features` takes the tables and the parameters (an instance of `params`), and returns one row per row of the main
    table, with key, target and inputs.
    `train` takes a `Dataset`, the parameters and a `Compute`, and returns the bytes of an ONNX file, whose inputs are
    feature columns by name.
    `time` is the column of the main table with the moment of a row; None if partitions are not of time.
    `not_inputs` are feature columns that the model does not read.

    `tables` and `train` may be given as "module:name". The module is then imported only when it is needed, because
    pandera and PyTorch take seconds, and the service has no PyTorch.
    """

    task: Task
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
            "task": (isinstance(self.task, Task), 'a task, such as Binary("late", …)'),
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
        for name, (valid, description) in expected.items():
            if not valid:
                raise UserError(f"Project({name}=…): expected {description}, got {getattr(self, name)!r}")

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
        tables = _resolve(self.tables, "tables") if isinstance(self.tables, str) else self.tables
        if not isinstance(tables, Mapping) or not tables:
            raise UserError(f"Project(tables=…): expected at least one table by name, got {_kind(tables)}")
        from pandera.polars import DataFrameSchema

        for name, schema in tables.items():
            if not isinstance(schema, DataFrameSchema):
                raise UserError(
                    f"Project(tables=…): {name} must be a pandera.polars.DataFrameSchema, got {_kind(schema)}"
                )
        return dict(tables)

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
        """The columns of the main table that identify a row; raise `UserError` if the contract names none."""
        if not self.schema.unique:
            raise UserError(f"the contract of {self.main}: the main table needs a key: unique=[…] names its columns")
        return list(self.schema.unique)

    def inputs(self, columns: Mapping[str, pl.DataType]) -> tuple[list[str], list[str]]:
        """Return the names of the categories and of the numbers among feature columns, without `not_inputs`."""
        return split_inputs(columns, {*self.not_inputs, self.target})

    def dataset(self, parts: list[pl.LazyFrame]) -> Dataset:
        """Return feature rows as the argument of the training function."""
        return Dataset(parts, self.target, frozenset({*self.not_inputs, self.target}), self.task.training_targets)

    def build_features(self, tables: Tables, params: BaseModel) -> pl.LazyFrame:
        """Call `features`; raise `UserError` unless it returns a lazy frame with target, time and an input.

        polars evaluates the rows only when they are collected: do so within `running(project.features)`.
        """
        name = full_name(self.features)
        with running(self.features):
            rows = self.features(tables, params)
            if isinstance(rows, pl.DataFrame):
                raise UserError(f"{name} must return a polars LazyFrame, got a DataFrame: leave out collect()")
            if not isinstance(rows, pl.LazyFrame):
                raise UserError(f"{name} must return a polars LazyFrame, got {_kind(rows)}")
            schema = rows.collect_schema()
        self._check_features(schema, name)
        return rows

    def _check_features(self, schema: Mapping[str, pl.DataType], name: str) -> None:
        columns = f"it has {_listed(schema)}"
        if self.target not in schema:
            raise UserError(f"{name} must return the label {self.target} (null if it is not known yet): {columns}")
        if self.time is not None:
            if self.time not in schema:
                raise UserError(f"{name} must return the column {self.time}, which Project(time=…) names: {columns}")
            if schema[self.time] not in (pl.Datetime, pl.Date):
                raise UserError(f"{name}: {self.time} must be Datetime or Date, and is {schema[self.time]}")
        if unknown := sorted(set(self.not_inputs) - set(schema)):
            raise UserError(f"{name} returns no column {unknown[0]}, which Project(not_inputs=…) names: {columns}")
        if not any(self.inputs(schema)):
            raise UserError(f"{name} returns no column that is an input: each is the label or in Project(not_inputs=…)")

    def build_history(self, tables: Tables, params: BaseModel) -> dict[str, History]:
        """Return every history by name; an empty dict if the features of a row need no other rows."""
        if self.online is None:
            return {}
        name = full_name(self.online.history)
        with running(self.online.history):
            histories = self.online.history(tables, params)
            if not isinstance(histories, Mapping):
                raise UserError(f"{name} must return a mapping of names to History, got {_kind(histories)}")
            for key, history in histories.items():
                if wrong := problem(history):
                    raise UserError(f"{name}: {key}: {wrong}")
        return dict(histories)

    def derive(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs computed from rows and their history; raise `UserError` if the result is not a dict."""
        if self.online is None:
            return {}
        with running(self.online.derive):
            inputs = self.online.derive(columns)
        if not isinstance(inputs, dict):
            raise UserError(
                f"{full_name(self.online.derive)} must return a dict of inputs by name, got {_kind(inputs)}"
            )
        return inputs

    def derive_arrays(self, columns: Mapping[str, "NDArray[Any]"], count: int) -> "dict[str, NDArray[Any]]":
        """Return the result of `derive` for arrays of shape (count,); raise `UserError` if one has another shape."""
        inputs = self.derive(columns)
        for name, values in inputs.items():
            if not isinstance(values, np.ndarray):
                got = f"got {_kind(values)}"
            elif values.shape != (count,):
                got = f"got the shape {values.shape}"
            else:
                continue
            derive = full_name(cast("Online", self.online).derive)
            raise UserError(f"{derive}: {name} must be an array of shape ({count},) for {count} rows, {got}")
        return inputs

    def fit(self, data: Dataset, params: BaseModel, compute: Compute) -> bytes:
        """Train, and return the ONNX file's bytes; raise `UserError` if the training function returns anything else."""
        train = _resolve(self.train, "train") if isinstance(self.train, str) else self.train
        if not callable(train):
            raise UserError(f"Project(train={self.train!r}): expected a function of (data, params, compute)")
        with running(train):
            model = train(data, params, compute)
        if not isinstance(model, bytes):
            raise UserError(f"{full_name(train)} must return the bytes of an ONNX file, got {_kind(model)}")
        return model


def registered() -> Project:
    """Return the project that pyproject.toml names under [tool.mergeworthy]; raise `UserError` if there is none.

    The result is that of the first call: the current folder counts only then.
    """
    return _registration()[0]


def team_code() -> list[Path]:
    """Return the files of the team's package, which holds the registration, sorted."""
    _, module = _registration()
    return sorted(Path(cast("str", sys.modules[module].__file__)).parent.rglob("*.py"))


@cache
def _registration() -> tuple[Project, str]:
    """Return the registered project and the name of its module."""
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
    project = _import(reference, f'{PYPROJECT}: {TABLE} project = "{reference}"')
    if not isinstance(project, Project):
        raise UserError(
            f"{reference} must be a mergeworthy.Project, and is {type(project).__name__}: see src/ml/__init__.py"
        )
    return project, reference.partition(":")[0]


def _resolve(reference: str, argument: str) -> Any:
    """Return the object that an argument of `Project` names as "module:name"."""
    if reference.count(":") != 1:
        raise UserError(f'Project({argument}={reference!r}): expected "module:name"')
    return _import(reference, f"Project({argument}={reference!r})")


def _import(reference: str, where: str) -> Any:
    """Return the object "module:name"; raise `UserError` beginning with `where` if there is no such module or name."""
    module, _, name = reference.partition(":")
    source = os.path.abspath("src")  # noqa: PTH100 - in the form that sys.path has
    if source not in sys.path:
        sys.path.insert(0, source)
    try:
        with importing(module):
            imported = importlib.import_module(module)
    except UserError as error:
        cause = error.__cause__
        if not isinstance(cause, ModuleNotFoundError) or cause.name is None:
            raise
        if module == cause.name or module.startswith(f"{cause.name}."):
            raise UserError(f"{where}: there is no module {cause.name} in src/") from None
        if cause.name.partition(".")[0] == module.partition(".")[0]:
            raise  # one of the team's own modules
        raise UserError(f"{where}: {module} imports {cause.name}, which is not installed: run `make setup`") from None
    if not hasattr(imported, name):
        raise UserError(f"{where}: the module {module} has no {name}")
    return getattr(imported, name)


def _kind(value: object) -> str:
    """Return the kind of a value, for an error message."""
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _listed(columns: Iterable[str], most: int = 8) -> str:
    """Return the first `most` names, and how many more there are."""
    names = list(columns)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def full_name(function: Any) -> str:
    """Return a function's full name, such as ml.features.build_features."""
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"


@contextmanager
def running(function: Any) -> Iterator[None]:
    """Turn an exception of the team's `function` into a `UserError`, even if polars evaluates its result only later.

    The message names the last call within the team's package. The exception stays the cause of the `UserError`;
    TRACEBACK=1 prints its traceback.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if _is_disk_error(error):
            raise
        package = str(getattr(function, "__module__", "")).partition(".")[0]
        where = _last_call(error, package) or f"{_file(function)}what {full_name(function)} returns"
        raise UserError(f"{where}: {words(error)}") from error


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Turn an exception that the import of the team's `module` raises into a `UserError` that names file and line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        where = _last_call(error, module.partition(".")[0])
        if isinstance(error, SyntaxError) and error.filename:
            where = f"{_shown(error.filename)}, line {error.lineno}"
        raise UserError(f"{where or module}: {words(error)}") from error


def words(error: Exception) -> str:
    """Return the type and the first line of an exception."""
    message = " ".join((str(error).strip().splitlines() or [""])[0].split())
    if isinstance(error, SyntaxError):
        message = error.msg
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[:LONGEST_MESSAGE]}…"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _is_disk_error(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in REFUSED  # such as a full disk: not an error of the team's code


def _last_call(error: Exception, package: str) -> str | None:
    """Return file, line and function of the last call within `package`, or None if the exception passed none."""
    last_call = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
            function = frame.f_code.co_qualname if frame.f_code.co_name != "<module>" else ""
            last_call = f"{_shown(frame.f_code.co_filename)}, line {line}{f', in {function}' if function else ''}"
    return last_call


def _file(function: Any) -> str:
    """Return file and first line of a function, as the beginning of a message; "" if it has no code."""
    code = getattr(function, "__code__", None)
    return f"{_shown(code.co_filename)}, line {code.co_firstlineno}: " if code else ""


def _shown(file: str) -> str:
    """Return a path relative to the current folder, if it is within it."""
    path = Path(file)
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else file
