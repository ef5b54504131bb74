"""History: what is known of each counter a day before an hour, which a row looks up by counter and moment.

`build_history` names every `History`; each function lists the columns that it adds. No count is used before it is
known, an hour after its own hour began, and the forecast is made `horizon_hours` before the hour that it is of.
"""

from collections.abc import Mapping
from datetime import timedelta

import polars as pl
from mergeworthy import History

from .params import Params

DAYS = (2, 3, 7, 14, 21, 28)  # not more: a month's rows see the month before, which has at least 28 days
WEEKS = (7, 14, 21, 28)
COUNT = pl.col("people").cast(pl.Float32)
BEFORE = timedelta(microseconds=1)  # `asof` looks strictly before a moment


def build_history(tables: Mapping[str, pl.LazyFrame], params: Params) -> dict[str, History]:
    """Return every history by name; the histories of a month are complete if the month before is there too."""
    counts = tables["counts"].sort("time", "place").select("time", "place", COUNT)
    known = timedelta(hours=params.features.horizon_hours + 1)
    return {
        "recent": recent(counts, known),
        "usual": usual(counts),
        **{f"ago_{days}": ago(counts, days) for days in DAYS},
    }


def ago(counts: pl.LazyFrame, days: int) -> History:
    """Return `ago_{days}`, the count of the same hour so many days before."""
    at = pl.col("time") + timedelta(days=days) - BEFORE
    table = counts.select("place", at.alias("at"), pl.col("people").alias(f"ago_{days}"))
    return History(["place"], table, within=timedelta(minutes=1))


def usual(counts: pl.LazyFrame) -> History:
    """Return `usual`, the mean count of the same hour of the last four weeks, of which some may be missing."""
    known = counts.drop_nulls()
    shifted = [known.with_columns(at=pl.col("time") + timedelta(days=days) - BEFORE) for days in WEEKS]
    table = pl.concat(shifted).group_by("place", "at").agg(pl.col("people").mean().alias("usual"))
    return History(["place"], table.sort("at", "place"), within=timedelta(minutes=1))


def recent(counts: pl.LazyFrame, known: timedelta) -> History:
    """Return `last_day` and `last_week`, the mean count of the last day and of the last week that is known."""
    windows = {"last_day": "1d", "last_week": "7d"}
    means = {
        name: pl.col("people").rolling_mean_by("time", window_size=window).over("place")
        for name, window in windows.items()
    }
    table = counts.select("place", at=pl.col("time") + known - BEFORE, **means)
    return History(["place"], table, within=timedelta(days=2))
