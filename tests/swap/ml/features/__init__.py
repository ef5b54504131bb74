"""The measurements as they are: nothing becomes known over time, and nothing follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from ..params import Params

LABEL = "malignant"
TIME: str | None = None


def label(params: Params) -> pl.Expr:
    """Return the diagnosis, which is a column."""
    return pl.col(LABEL)


def build_features(tables: Mapping[str, pl.LazyFrame], params: Params) -> pl.LazyFrame:
    """Add the batch that the gate resamples whole."""
    return tables["cells"].with_columns(batch=pl.col("id") // params.features.batch_rows)


@dataclass(frozen=True)
class History:
    """What the online store would take; there is none."""

    by: list[str]
    table: pl.LazyFrame
    within: timedelta | None = None


def build_history(tables: Mapping[str, pl.LazyFrame], params: Params) -> dict[str, History]:
    """No history."""
    return {}


def derive(known: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing."""
    return {}
