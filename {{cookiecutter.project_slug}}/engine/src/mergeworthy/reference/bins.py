"""The bins in which a column is counted: tenths of the reference for numbers, its common values for categories."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import Field

from ..files import Record

TENTHS = np.linspace(0.1, 0.9, 9)
COMMON, KNOWN = 30, 10_000  # values with a bin of their own, values remembered
SAMPLE = 200_000  # rows that the tenths are told from; what lies in each is counted on all rows
Kinds = Mapping[str, Literal["number", "category"]]


class Bins(Record):
    """How one column is cut; there is a bin for what is missing, and of categories for rare and for new values."""

    kind: Literal["number", "category"]
    edges: list[float] = Field(default_factory=list, description="inner edges, each the highest value of its bin")
    values: list[str] = Field(default_factory=list, description="common values, most frequent first")
    rare: list[str] = Field(default_factory=list, description="other values seen more than once")
    once: list[str] = Field(default_factory=list, description="values seen once")
    open: Annotated[bool, Field(description="has more values than are remembered: none of them is new")] = False

    @property
    def labels(self) -> list[str]:
        """What the bins are called, in their order; the first is what is missing."""
        if self.kind == "category":
            return ["(missing)", *self.values, "(rare)", "(new)"]
        if not self.edges:
            return ["(missing)", "(any)"]
        told = [f"{edge:.4g}" for edge in self.edges]
        between = [f"{low} … {high}" for low, high in pairwise(told)]
        return ["(missing)", f"≤ {told[0]}", *between, f"> {told[-1]}"]

    def code(self, name: str, *, own: bool = False) -> pl.Expr:
        """Give the place of each row's bin in `labels`; `own` rows are those that the bins were learned from.

        An own row that is alone with its value is new to all others: the share of those is what may be expected of
        values never seen (Good 1953).
        """
        column = pl.col(name)
        if self.kind == "number":
            number = column.cast(pl.Float64)
            place = pl.lit(pl.Series(self.edges, dtype=pl.Float64)).search_sorted(number, side="left") + 1
            return pl.when(number.is_null() | number.is_nan()).then(0).otherwise(place).cast(pl.Int64).alias(name)
        seen = [] if self.open else [*self.rare, *([] if own else self.once)]
        places = {value: place for place, value in enumerate([*self.values, *seen], 1)}
        last = len(self.values) + 1
        other = last if self.open else last + 1
        found = column.cast(pl.String).replace_strict(places, default=other, return_dtype=pl.Int64)
        found = pl.when(found > other).then(last).when(column.is_null()).then(0).otherwise(found)
        return found.alias(name)


def learn(rows: pl.LazyFrame, kinds: Kinds) -> dict[str, Bins]:
    """Choose bins for the columns of `kinds` from all rows of the reference."""
    total = rows.select(pl.len()).collect().item()
    step = max(1, total // SAMPLE)
    sampled = rows.select(*kinds).with_row_index("_row").filter(pl.col("_row") % step == 0).collect(engine="streaming")
    return {
        name: _numbers(sampled[name]) if kind == "number" else _categories(rows, name) for name, kind in kinds.items()
    }


def _numbers(sample: pl.Series) -> Bins:
    values = sample.cast(pl.Float64).drop_nulls().drop_nans().to_numpy()
    edges = np.unique(np.quantile(values, TENTHS, method="inverted_cdf")) if len(values) else np.array([])
    return Bins(kind="number", edges=edges.tolist())


def _categories(rows: pl.LazyFrame, name: str) -> Bins:
    counted = rows.select(pl.col(name).cast(pl.String)).drop_nulls().group_by(name).len()
    found = counted.sort("len", name, descending=[True, False]).head(KNOWN + 1).collect(engine="streaming")
    often = found.filter(pl.col("len") > 1)[name].to_list()
    once = found.filter(pl.col("len") == 1)[name].to_list()
    if found.height > KNOWN:
        return Bins(kind="category", values=often[:COMMON], open=True)
    return Bins(kind="category", values=often[:COMMON], rare=sorted(often[COMMON:]), once=once)
