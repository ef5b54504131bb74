"""Training rows as tensors, batch by batch: one part of them in memory for good, or several in turn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from ..features import LABEL
from .encoding import Encoding

Columns = tuple[Tensor, ...]  # categories (N, C), numbers (N, F), label (N,)


@dataclass
class Rows:
    """The labelled rows of all parts."""

    parts: Sequence[pl.LazyFrame]
    encoding: Encoding
    device: torch.device

    def __post_init__(self) -> None:
        labels = [part.select(pl.col(LABEL).count()) for part in self.parts]
        self.count = int(pl.concat(labels).sum().collect().item())
        self.whole = self._read(self.parts[0]) if len(self.parts) == 1 else None

    def batches(self, rows: int, shuffle: torch.Generator, share: slice = slice(None)) -> Iterator[Columns]:
        """One epoch: every row once, less a rest that fills no batch, in a new order; of each batch a `share`."""
        left: Columns | None = None
        for read in self._shuffled(shuffle):
            columns = read if left is None else tuple(torch.cat(pair) for pair in zip(left, read, strict=True))
            count = len(columns[-1])
            order = torch.randperm(count, generator=shuffle).to(self.device)
            whole = count // rows * rows
            for batch in order[:whole].view(-1, rows)[:, share]:
                yield tuple(column.index_select(0, batch) for column in columns)
            left = tuple(column[order[whole:]] for column in columns)

    def _shuffled(self, shuffle: torch.Generator) -> Iterator[Columns]:
        if self.whole:
            yield self.whole
            return
        for number in torch.randperm(len(self.parts), generator=shuffle).tolist():
            yield self._read(self.parts[number])

    def _read(self, part: pl.LazyFrame) -> Columns:
        wanted = part.select(*self.encoding.vocabularies, *self.encoding.numbers, LABEL)
        rows = wanted.filter(pl.col(LABEL).is_not_null()).collect()
        label = torch.from_numpy(rows[LABEL].to_numpy()).float()
        columns = self.encoding.categories(rows), self.encoding.values(rows), label
        return tuple(column.to(self.device) for column in columns)
