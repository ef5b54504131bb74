"""How columns become tensors: vocabularies and quantiles learned from the training rows."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from ..dataset import Dataset

SAMPLE = 500_000  # rows, of a table that has more


@dataclass(frozen=True)
class Encoding:
    """Names and order of the inputs: each category's vocabulary, and the numbers with their quantiles.

    A word is encoded as its place in the vocabulary, counted from 1; 0 is unknown. `edges` has the shape (F, bins + 1).
    """

    vocabularies: dict[str, list[str]]
    numbers: list[str]
    edges: Tensor

    @classmethod
    def learn(cls, data: Dataset, *, bins: int, minimum_category_rows: int) -> "Encoding":
        """Learn vocabularies and quantiles from the rows with a target; values in fewer rows than that stay unknown.

        Quantiles are those of every n-th row, so that there are no more than `SAMPLE`.
        """
        (categories, numbers), table = data.inputs, data.rows
        vocabularies = {}
        for name in categories:
            counted = table.select(pl.col(name).drop_nulls()).group_by(name).len().collect(engine="streaming")
            vocabularies[name] = sorted(counted.filter(pl.col("len") >= minimum_category_rows)[name])
        rows = table.select(pl.len()).collect(engine="streaming").item()
        sample = table.select(numbers).gather_every(max(-(-rows // SAMPLE), 1)).collect(engine="streaming")
        edges = np.zeros((len(numbers), bins + 1), np.float32)
        for row, name in enumerate(numbers):
            edges[row] = quantiles(sample[name].drop_nulls().to_numpy(), bins)
        return cls(vocabularies, numbers, torch.from_numpy(edges))

    @property
    def sizes(self) -> list[int]:
        """How many values each category has, the unknown one included."""
        return [len(words) + 1 for words in self.vocabularies.values()]

    def categories(self, table: pl.DataFrame) -> Tensor:
        """Return places in the vocabularies, shape (N, C)."""
        return matrix(
            table,
            [
                pl.col(name).replace_strict(words, range(1, len(words) + 1), default=0, return_dtype=pl.Int32)
                for name, words in self.vocabularies.items()
            ],
            np.int32,
        )

    def values(self, table: pl.DataFrame) -> Tensor:
        """Return numbers, shape (N, F); NaN if missing."""
        return matrix(
            table, [pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in self.numbers], np.float32
        )


def matrix(table: pl.DataFrame, columns: list[pl.Expr], dtype: type[np.generic]) -> Tensor:
    """Return columns side by side, shape (N, columns), which may be none."""
    values = table.select(columns).to_numpy().astype(dtype, order="C", copy=False)
    return torch.from_numpy(values.reshape(table.height, len(columns)))


def quantiles(values: np.ndarray, bins: int) -> np.ndarray:
    """Return `bins + 1` increasing edges; if values repeat, the distinct quantiles are spread over all bins."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        values = np.zeros(1)
    distinct = np.unique(np.quantile(values.astype(np.float64), np.linspace(0, 1, bins + 1)))
    if len(distinct) == 1:
        distinct = np.array([distinct[0], distinct[0] + 1])
    return np.interp(np.linspace(0, len(distinct) - 1, bins + 1), np.arange(len(distinct)), distinct)
