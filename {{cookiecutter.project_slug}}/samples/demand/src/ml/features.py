"""Features: one row per counter and hour, from nothing that is unknown a day before.

A row has three sources: its own columns, its history (`build_history`), and the inputs computed from both (`derive`).
Training builds all rows with `build_features`. The service looks up the history of the rows in a request and calls the
same `derive`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from mergeworthy import asof, split_inputs

from .history import DAYS, build_history
from .params import Params

TARGET = "demand"
QUANTILES = (0.1, 0.9)
NOT_INPUTS = {"time", "date", "hour", TARGET}
MINUTES_PER_DAY = 1440


def label(params: Params) -> pl.Expr:  # noqa: ARG001 - a label may depend on parameters, and this one does not
    """Return the label as an expression of the table's columns: the count, or null if it is not known.

    The gate also evaluates it on the table itself, to check that the features have every labelled row.
    """
    return pl.col("people").cast(pl.Float64)


def build_features(tables: Mapping[str, pl.LazyFrame], params: Params) -> pl.LazyFrame:
    """Return one row per counter and hour: key, `date`, `hour`, inputs, and the target, null if it is not known.

    The rows are lazy. `tables` may hold any months: a month's rows are complete if the month before is there too.
    """
    time = pl.col("time")
    rows = tables["counts"].sort("time", "place")
    rows = rows.with_columns(label(params).alias(TARGET), date=time.dt.date(), hour=time.dt.hour()).drop("people")
    for history in build_history(tables, params).values():
        rows = rows.pipe(asof, "time", history)
    rows = rows.with_columns(**derive({name: pl.col(name) for name in rows.collect_schema()}))
    _, numbers = split_inputs(rows.collect_schema(), NOT_INPUTS)
    return rows.with_columns(pl.col(numbers).cast(pl.Float32))


def derive(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that are computed from a row and its history, by name; training and service both call it.

    `columns` maps names to polars expressions (training) or to numpy arrays of shape (N,) (service), in which a missing
    number is null or NaN. Both understand plain arithmetic, so use nothing else.
    """
    now = epoch_minutes(columns["time"])
    return {
        "minute": now % MINUTES_PER_DAY,
        "weekday": (now // MINUTES_PER_DAY + 3) % 7 + 1,  # 1970 began on a Thursday
        "change": columns["last_day"] / (columns["last_week"] + 1),
        **{f"ratio_{days}": columns[f"ago_{days}"] / (columns["usual"] + 1) for days in DAYS},
    }


def epoch_minutes(times: Any) -> Any:
    """Return whole minutes since 1970, of an expression or of an array of shape (N,)."""
    return times.dt.epoch("s") // 60 if isinstance(times, pl.Expr) else times.astype("datetime64[m]").astype(np.int64)
