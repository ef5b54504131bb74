"""Features: one row per flight, from nothing that is unknown at its scheduled departure.

A row has three sources: the flight's own columns, its history (`build_history`), and the inputs computed from both
(`derive`). Training builds the rows of all flights with `build_features`. The service looks up the history of the
flights in a request and calls the same `derive`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from mergeworthy import asof, split_inputs

from .history import QUEUES, build_history
from .params import Params

TARGET = "late"
NOT_INPUTS = {"sched_dep", "flight", "tailnum", "date", "hour", TARGET}
DERIVED_FROM = ["sched_arr", "built", *(f"{name}_due" for name in QUEUES)]  # inputs only through `derive`
MINUTES_PER_DAY = 1440
MINUTES_PER_YEAR = 365.2425 * MINUTES_PER_DAY

DEPARTURE = pl.col("sched_dep")


def label(params: Params) -> pl.Expr:
    """Return the label as an expression of the flights' columns: true, false, or null if it is not known.

    The gate also evaluates it on the table itself, to check that the features have every labelled row.
    """
    return pl.col("arr_delay") > params.features.late_minutes


def build_features(tables: Mapping[str, pl.LazyFrame], params: Params) -> pl.LazyFrame:
    """Return one row per flight: key, `date`, `hour`, inputs, and the target, which is null if it is not known.

    The rows are lazy. `tables` may hold any months: a month's rows are complete if the month before is there too.
    """
    rows = tables["flights"].sort("sched_dep", "carrier", "flight")
    rows = rows.with_columns(label(params).alias(TARGET), date=DEPARTURE.dt.date(), hour=DEPARTURE.dt.hour())
    rows = rows.drop("dep_delay", "arr_delay", "air_time")
    for history in build_history(tables, params).values():
        rows = rows.pipe(asof, "sched_dep", history)
    rows = rows.with_columns(**derive({name: pl.col(name) for name in rows.collect_schema()})).drop(DERIVED_FROM)
    categories, numbers = split_inputs(rows.collect_schema(), NOT_INPUTS)
    return rows.with_columns(pl.col(categories).cast(pl.String), pl.col(numbers).cast(pl.Float32))


def derive(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that are computed from a flight and its history, by name; training and service both call it.

    `columns` maps names to polars expressions (training) or to numpy arrays of shape (N,) (service), in which a missing
    number is null or NaN. Both understand plain arithmetic, so use nothing else.

    The month is no input: with less than a few years of data it stands for the weather of one year.
    """
    now = epoch_minutes(columns["sched_dep"])
    minute = now % MINUTES_PER_DAY
    return {
        "minute": minute,
        "weekday": (now // MINUTES_PER_DAY + 3) % 7 + 1,  # 1970 began on a Thursday
        "arrival_minute": columns["sched_arr"],
        "block_minutes": (columns["sched_arr"] - minute) % MINUTES_PER_DAY,
        "age": (now - columns["built"]) / MINUTES_PER_YEAR,
        **{f"{name}_overdue": now - columns[f"{name}_due"] for name in QUEUES},
    }


def epoch_minutes(times: Any) -> Any:
    """Return whole minutes since 1970, of an expression or of an array of shape (N,)."""
    return times.dt.epoch("s") // 60 if isinstance(times, pl.Expr) else times.astype("datetime64[m]").astype(np.int64)
