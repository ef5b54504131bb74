"""From the tables of the contract to one row per flight, with nothing that is unknown at its scheduled departure.

A row is what the flight's own columns say, what `history` knew by then, and what `derive` makes of both. Training
builds them for all flights (`build_features`); the service looks history up for the flights of one request, and calls
the same `derive`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from mergeworthy import asof, split_inputs

from .history import QUEUES, build_history
from .params import Params

LABEL = "late"
NOT_INPUTS = {"sched_dep", "flight", "tailnum", "date", "hour", LABEL}
# what is no input itself: derive makes one of it
RAW = ["sched_arr", "built", *(f"{name}_due" for name in QUEUES)]
YEAR = 365.2425 * 1440  # minutes

NOW = pl.col("sched_dep")


def label(params: Params) -> pl.Expr:
    """Return the label as an expression of the main table's columns: true, false, or null if it is not known.

    The gate asks it of the table itself, so that no row with a label is lost on its way into the features.
    """
    return pl.col("arr_delay") > params.features.late_minutes


def build_features(tables: Mapping[str, pl.LazyFrame], params: Params) -> pl.LazyFrame:
    """Give a row per flight: keys, `date`, `hour`, the inputs, and the label where it is known.

    Lazy, and for any subset of months, given the one before.
    """
    rows = tables["flights"].sort("sched_dep", "carrier", "flight")
    rows = rows.with_columns(label(params).alias(LABEL), date=NOW.dt.date(), hour=NOW.dt.hour())
    rows = rows.drop("dep_delay", "arr_delay", "air_time")
    for history in build_history(tables, params).values():
        rows = rows.pipe(asof, "sched_dep", history)
    rows = rows.with_columns(**derive({name: pl.col(name) for name in rows.collect_schema()})).drop(RAW)
    categories, numbers = split_inputs(rows.collect_schema(), NOT_INPUTS)
    return rows.with_columns(pl.col(categories).cast(pl.String), pl.col(numbers).cast(pl.Float32))


def derive(known: Mapping[str, Any]) -> dict[str, Any]:
    """Give the inputs that follow from a row and its history: the one place, for training and for the service.

    `known` maps columns to polars expressions (training) or to numpy arrays of shape (N,) (service), missing numbers
    being null or NaN; so only plain arithmetic is used. No month: with less than some years of data it only misleads.
    """
    now = minutes(known["sched_dep"])
    minute = now % 1440
    return {
        "minute": minute,
        "weekday": (now // 1440 + 3) % 7 + 1,
        "arrival_minute": known["sched_arr"],
        "block_minutes": (known["sched_arr"] - minute) % 1440,
        "age": (now - known["built"]) / YEAR,
        **{f"{name}_overdue": now - known[f"{name}_due"] for name in QUEUES},
    }


def minutes(times: Any) -> Any:
    """Whole minutes since 1970."""
    return times.dt.epoch("s") // 60 if isinstance(times, pl.Expr) else times.astype("datetime64[m]").astype(np.int64)
