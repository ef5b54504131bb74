"""How columns become tensors: vocabularies and quantiles learned from the training rows."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from ..features import inputs


@dataclass(frozen=True)
class Encoding:
    """Names and order of the inputs, each category's vocabulary (its place counts from 1; 0 is unknown), quantiles."""

    vocabularies: dict[str, list[str]]
    numbers: list[str]
    edges: Tensor

    def categories(self, table: pl.DataFrame) -> Tensor:
        """Places in the vocabularies, shape (N, C)."""
        places = np.zeros((table.height, len(self.vocabularies)), np.int64)
        for column, (name, words) in enumerate(self.vocabularies.items()):
            known = dict(zip(words, range(1, len(words) + 1), strict=True))
            places[:, column] = table[name].replace_strict(known, default=0, return_dtype=pl.Int64).fill_null(0)
        return torch.from_numpy(places)

    def values(self, table: pl.DataFrame) -> Tensor:
        """Numbers, shape (N, F); NaN where missing."""
        values = np.zeros((table.height, len(self.numbers)), np.float32)
        for column, name in enumerate(self.numbers):
            values[:, column] = table[name].cast(pl.Float32).fill_null(float("nan"))
        return torch.from_numpy(values)


def learn(table: pl.DataFrame, *, bins: int, minimum_category_rows: int) -> Encoding:
    """Learn vocabularies and quantiles; values rarer than `minimum_category_rows` stay unknown."""
    categories, numbers = inputs(table.schema)
    vocabularies = {}
    for name in categories:
        counted = table[name].drop_nulls().value_counts().filter(pl.col("count") >= minimum_category_rows)
        vocabularies[name] = sorted(counted[name])
    edges = np.zeros((len(numbers), bins + 1), np.float32)
    for row, name in enumerate(numbers):
        edges[row] = quantiles(table[name].drop_nulls().to_numpy(), bins)
    return Encoding(vocabularies, numbers, torch.from_numpy(edges))


def quantiles(values: np.ndarray, bins: int) -> np.ndarray:
    """Give `bins + 1` increasing edges; where values repeat, the distinct quantiles are spread over all bins."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        values = np.zeros(1)
    distinct = np.unique(np.quantile(values.astype(np.float64), np.linspace(0, 1, bins + 1)))
    if len(distinct) == 1:
        distinct = np.array([distinct[0], distinct[0] + 1])
    return np.interp(np.linspace(0, len(distinct) - 1, bins + 1), np.arange(len(distinct)), distinct)
