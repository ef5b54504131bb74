"""The label: binary, which is what training, metrics and gate are made for. Anything else is refused, never cast."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import UserError
from .project import registered


def check(rows: pl.LazyFrame, where: str | Path) -> None:
    """Raise `UserError` naming `where` unless the label is true or false, or a number that is 0 or 1, or null.

    Booleans are known by their type; of numbers the column is read, and the first other value is named.
    """
    name, schema = registered().target, rows.collect_schema()
    if name not in schema:
        raise UserError(f"{where}: there is no label column {name}: build_features must give it")
    if (dtype := schema[name]) == pl.Boolean:
        return
    value = pl.col(name)
    other = value.is_not_null() & ~((value == 0) | (value == 1)) if dtype.is_numeric() else value.is_not_null()
    found = rows.filter(other).select(name).head(1).collect().to_series()
    if len(found) or not dtype.is_numeric():
        example = f", e.g. {found[0]!r}" if len(found) else ""
        raise UserError(
            f"{where}: the label {name} is not binary (type {dtype}{example}): this pipeline predicts yes or no, so "
            "build_features must give true or false, or null where it is not known yet"
        )


def values(table: pl.DataFrame, where: str | Path) -> NDArray[np.bool_]:
    """Return the labels of rows that have one, shape (N,); raise `UserError` naming `where` if they are not binary."""
    check(table.lazy(), where)
    label: NDArray[Any] = table[registered().target].to_numpy()
    return label.astype(bool)
