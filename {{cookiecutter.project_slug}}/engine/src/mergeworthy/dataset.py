"""What a training function is given: the rows (`Dataset`), and where and how to compute (`Compute`)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import polars as pl

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
