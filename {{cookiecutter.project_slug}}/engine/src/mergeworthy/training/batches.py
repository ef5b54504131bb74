"""Training rows as tensors, batch by batch: one part of them in memory for good, or several in turn."""

from collections.abc import Callable, Iterator

import polars as pl
import torch
from torch import Tensor

from ..dataset import Dataset
from .run import Run

Tensors = tuple[Tensor, ...]  # of N rows each


class Batches:
    """The rows with a target, one epoch for each iteration.

    `encode` returns the tensors of a table; each batch holds these and the target, as float32 of shape (rows,). A batch
    has `rows` rows, less this process's share of a remainder; with several processes each gets its share of it.
    """

    def __init__(self, data: Dataset, encode: Callable[[pl.DataFrame], Tensors], run: Run, rows: int) -> None:
        self._data, self._encode, self._run = data, encode, run
        self.rows = min(rows, data.count) // run.processes * run.processes
        self._kept = self._read(data.parts[0]) if len(data.parts) == 1 else None

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self._data.count // self.rows

    def __iter__(self) -> Iterator[Tensors]:
        """Yield one shuffled epoch; rows that do not fill the last batch are dropped."""
        share, shuffle = slice(self._run.rank, None, self._run.processes), self._run.shuffle
        left: Tensors | None = None
        for read in self._parts():
            columns = read if left is None else tuple(torch.cat(pair) for pair in zip(left, read, strict=True))
            count = len(columns[-1])
            order = torch.randperm(count, generator=shuffle).to(self._run.device)
            whole = count // self.rows * self.rows
            for batch in order[:whole].view(-1, self.rows)[:, share]:
                yield tuple(column.index_select(0, batch) for column in columns)
            left = tuple(column[order[whole:]] for column in columns)

    def _parts(self) -> Iterator[Tensors]:
        if self._kept:
            yield self._kept
            return
        for number in torch.randperm(len(self._data.parts), generator=self._run.shuffle).tolist():
            yield self._read(self._data.parts[number])

    def _read(self, part: pl.LazyFrame) -> Tensors:
        target, (categories, numbers) = self._data.target, self._data.inputs
        known = part.select(*categories, *numbers, target).filter(pl.col(target).is_not_null())
        rows = known.collect()
        columns = *self._encode(rows), torch.from_numpy(rows[target].to_numpy()).float()
        return tuple(column.to(self._run.device) for column in columns)
