"""What a training function is given (`Dataset`, `Compute`), and what becomes known over time (`History`)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Protocol

import polars as pl

# DOC dataset: What a training function is given: the rows (`Dataset`), and where and how to compute (`Compute`).

TEXT = (pl.String, pl.Categorical, pl.Enum)


def split_inputs(columns: Mapping[str, pl.DataType], leave_out: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Return the names of a model's categories and of its numbers: all columns but those to be left out."""
    names = [name for name in columns if name not in leave_out]
    categories = [name for name in names if columns[name] in TEXT]
    return categories, [name for name in names if name not in categories]


@dataclass(frozen=True)
class Dataset:
    """Feature rows to train on.

    Several `parts`, each a random sample of all rows, are read one after the other in each epoch: they need not fit
    into memory together. `not_inputs` are columns that no model reads, among them `target`.
    """

    parts: Sequence[pl.LazyFrame]
    target: str
    not_inputs: frozenset[str]

    @cached_property
    def rows(self) -> pl.LazyFrame:
        """The rows of all parts whose target is known."""
        return pl.concat(self.parts).filter(pl.col(self.target).is_not_null())

    @cached_property
    def inputs(self) -> tuple[list[str], list[str]]:
        """Names of the categories (text) and of the numbers."""
        return split_inputs(self.parts[0].collect_schema(), self.not_inputs)

    @cached_property
    def count(self) -> int:
        """How many rows have a known target."""
        counts = [part.select(pl.col(self.target).count()) for part in self.parts]
        return int(pl.concat(counts).sum().collect().item())


class Checkpoint(Protocol):
    """One place for the state of one training, as bytes."""

    def load(self) -> bytes | None:
        """Return what was saved last; None at the start."""

    def save(self, state: bytes) -> None:
        """Replace what was saved before."""


def _silent(_: Mapping[str, float]) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Compute:
    """Where and how to compute, as infra.yaml says it.

    `progress` takes each epoch's figures, `epoch` and `epochs` among them; `checkpoint` keeps the state of the
    training, so that one that was killed goes on from there.
    """

    device: str = "cpu"
    precision: str = "float32"
    threads: int = 2
    checkpoint: Checkpoint | None = None
    progress: Callable[[Mapping[str, float]], None] = _silent


# DOC history: What becomes known over time, as tables that a row is joined to by key and moment. Training joins whole
# tables (`asof`); the service looks the same tables up, row by row.


@dataclass(frozen=True)
class History:
    """Rows of `by`, `at` and values, sorted by `at`: from just after that moment on, the values hold for that key.

    They do until the key's next row, and at most for `within`. If none holds, an integer (a count) is 0 and anything
    else is missing.
    """

    by: list[str]
    table: pl.LazyFrame
    within: timedelta | None = None


def problem(history: object) -> str | None:
    """Return what is wrong with a `History`, and what is expected; None if nothing is."""
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
    """Join what was known strictly before `time`; `rows` are sorted by it, and stay so.

    Raise `ValueError` if `history` is none, or lacks a column.
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
