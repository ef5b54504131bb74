"""The features: one row per flight, whose only useful input is `signal`."""

from collections.abc import Mapping

import polars as pl

from .params import Params

TARGET = "late"
NOT_INPUTS = {"sched_dep", "flight", "date"}


def label(params: Params) -> pl.Expr:
    """Return the label, true if a flight is late, as an expression of the main table's columns."""
    return pl.col("arr_delay") > params.features.late_minutes


def build_features(tables: Mapping[str, pl.LazyFrame], params: Params) -> pl.LazyFrame:
    """Return a row per flight; the older the weather, the more noise is in the signal."""
    blur = 0.1 * (params.features.weather_lag_hours - 1) * pl.col("noise")
    rows = tables["flights"].sort("sched_dep", "carrier", "flight")
    rows = rows.with_columns(label(params).alias(TARGET), date=pl.col("sched_dep").dt.date())
    rows = rows.with_columns((pl.col("signal") + blur).cast(pl.Float32))
    return rows.with_columns(signal_c=pl.col("signal") * (pl.col("carrier") == "C")).drop("arr_delay", "tailnum")
