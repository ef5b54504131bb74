"""Features of the gate's test project: the tests call them, and former commits run them from their own tree."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from ml.features.history import History, build_history
from ml.params import Params

__all__ = ["LABEL", "TIME", "History", "build_features", "build_history", "derive", "label"]

LABEL = "late"
TIME: str | None = "sched_dep"


def label(params: Params) -> pl.Expr:
    """Return the label as the product's own features do."""
    return pl.col("arr_delay") > params.features.late_minutes


def build_features(tables: Mapping[str, pl.LazyFrame], params: Params) -> pl.LazyFrame:
    """Return a row per flight, whose signal is the noisier the later the weather is known."""
    blur = 0.1 * (params.features.weather_lag_hours - 1) * pl.col("noise")
    rows = tables["flights"].sort("sched_dep", "carrier", "flight")
    rows = rows.with_columns(label(params).alias(LABEL), date=pl.col("sched_dep").dt.date())
    rows = rows.with_columns((pl.col("signal") + blur).cast(pl.Float32))
    return rows.with_columns(signal_c=pl.col("signal") * (pl.col("carrier") == "C")).drop("arr_delay")


def derive(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return nothing: no feature follows from others."""
    return {}
