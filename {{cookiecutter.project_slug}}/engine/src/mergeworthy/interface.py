"""What the team's functions receive and return: `Dataset` and `Compute` for training, `History` for features.

A `History` is a table of what becomes known over time. Training joins it to all rows (`asof`); the service looks the
same table up row by row.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Protocol

import polars as pl
from numpy.typing import NDArray

TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum)


def split_inputs(columns: Mapping[str, pl.DataType], leave_out: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Return the names of the categories (text) and of the numbers among `columns`, without those in `leave_out`."""
    names = [name for name in columns if name not in leave_out]
    categories = [name for name in names if columns[name] in TEXT_TYPES]
    return categories, [name for name in names if name not in categories]


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
    targets: Callable[[pl.Series], NDArray[Any]]

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
