"""Counting: rows come in batches and leave as counts per block (day) and bin, so that memory is flat in rows.

Whatever is asked later (a window, a reference without it, a resample of days) is a sum of blocks.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .bins import Bins

BATCH = 250_000  # rows
Ints = NDArray[np.int64]


@dataclass
class Counts:
    """Names of blocks, in their order, and for each column counts of shape (blocks, bins)."""

    blocks: list[str] = field(default_factory=list)
    columns: dict[str, Ints] = field(default_factory=dict)

    @property
    def rows(self) -> Ints:
        """Rows of each block, shape (blocks,)."""
        total: Ints = next(iter(self.columns.values())).sum(axis=1)
        return total

    def total(self, chosen: slice = slice(None)) -> dict[str, Ints]:
        """Sum over some of the blocks: each of shape (bins,)."""
        return {name: counts[chosen].sum(axis=0) for name, counts in self.columns.items()}


def batches(rows: pl.LazyFrame, columns: Iterable[str]) -> Iterator[pl.DataFrame]:
    """Read only what is needed, piece by piece."""
    yield from rows.select(list(dict.fromkeys(columns))).collect_batches(chunk_size=BATCH, maintain_order=False)


def count(parts: Iterable[pl.DataFrame], bins: Mapping[str, Bins], block: str, *, own: bool = False) -> Counts:
    """Count the rows of every part; `block` is the column that says which rows belong together, `own` as in `Bins`."""
    found: dict[Any, dict[str, Ints]] = {}
    for part in parts:
        part = part.drop_nulls(block)
        here = part[block].unique().sort()
        place = part[block].rank("dense").cast(pl.Int64) - 1
        codes = part.select(cut.code(name, own=own) for name, cut in bins.items())
        for name, cut in bins.items():
            width = len(cut.labels)
            counted = np.bincount((place * width + codes[name]).to_numpy(), minlength=len(here) * width)
            for one, row in zip(here, counted.reshape(-1, width), strict=True):
                held = found.setdefault(one, {})
                held[name] = held[name] + row if name in held else row
    blocks = sorted(found)
    empty: dict[str, Any] = {name: np.zeros((0, len(cut.labels)), np.int64) for name, cut in bins.items()}
    return Counts(
        [str(one) for one in blocks],
        {name: np.stack([found[one][name] for one in blocks]) for name in bins} if blocks else empty,
    )
