"""History: tables of what becomes known over time, which a flight looks up by key and moment.

There are aircraft, weather, the delays and queues of the last hours, and the punctuality of the last days. Each
function here returns one `History`; `build_history` names them all. The columns that they add are listed in the
docstrings, with `{name}` for the group of flights that is summed up, such as `origin`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import polars as pl
from mergeworthy import History

from .params import Features, Params

# Groups of flights by name, with the columns that define them.
RECENT = {"origin": ["origin"], "airline": ["origin", "carrier"], "fleet": ["carrier"], "dest": ["dest"]}
QUEUES = {"origin": ["origin"], "airline": ["origin", "carrier"]}
HABITS = {"route": ["carrier", "origin", "dest"], "number": ["carrier", "flight"], "season": ["origin"]}

AIRCRAFT_HOURS = 16  # since yesterday evening
WEATHER_HOURS = 6  # for which an observation is used at most
LATE_DEPARTURE = 15  # minutes

DEPARTURE = pl.col("sched_dep")
# A delay is known once the flight has left, and never before its scheduled departure: no flight sees its own delay.
DELAY_KNOWN = DEPARTURE + pl.duration(minutes=pl.max_horizontal("dep_delay", 0))


def build_history(tables: Mapping[str, pl.LazyFrame], params: Params) -> dict[str, History]:
    """Return every history by name; the histories of a month are complete if the month before is there too."""
    settings, flights = params.features, tables["flights"].sort("sched_dep", "carrier", "flight")
    recent_hours, aircraft_hours = pl.duration(hours=settings.history_hours), pl.duration(hours=AIRCRAFT_HOURS)
    return {
        "planes": aircraft(tables["planes"]),
        "weather": weather(tables["weather"], settings.weather_lag_hours),
        **{f"{name}_delays": delays(flights, name, by, recent_hours) for name, by in RECENT.items()},
        "aircraft_delays": delays(flights, "aircraft", ["tailnum"], aircraft_hours),
        **{f"{name}_queues": queues(flights, name, by, recent_hours) for name, by in QUEUES.items()},
        **{f"{name}_habits": punctuality(flights, name, by, settings) for name, by in HABITS.items()},
    }


def aircraft(planes: pl.LazyFrame) -> History:
    """Return maker, type, engine, seats and `built` (minutes since 1970) of each aircraft, known at any time."""
    year_built = pl.datetime(pl.col("year").cast(pl.Int32), 1, 1)
    table = planes.unique("tailnum", keep="last", maintain_order=True).select(
        *("tailnum", "manufacturer", "type", "engine"),
        pl.col("seats").cast(pl.Float32),
        at=pl.lit(datetime(1900, 1, 1)).cast(pl.Datetime("us")),  # before all flights
        built=(year_built.dt.epoch("s") // 60).cast(pl.Float64),
    )
    return History(["tailnum"], table)


def weather(observations: pl.LazyFrame, lag_hours: int) -> History:
    """Return the weather at each airport: an observation counts as known `lag_hours` after it was made.

    Temperatures are used only as `frost` (below 35 °F) and `spread` (distance from the dew point, °F). The temperature
    itself reveals the season, and a model that has seen no summer is overconfident in summer.
    """
    direction, speed = pl.col("wind_dir").radians(), pl.col("wind_speed")
    # A microsecond earlier, because `asof` looks strictly before: an observation of exactly this age counts.
    known = pl.col("time") + pl.duration(hours=lag_hours, microseconds=-1)
    table = observations.sort("time").select(
        "origin",
        known.alias("at"),
        *("humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"),
        wind_north=direction.cos() * speed,
        wind_east=direction.sin() * speed,
        spread=pl.col("temp") - pl.col("dewp"),
        frost=(pl.col("temp") < 35).cast(pl.Float32),
    )
    return History(["origin"], table, within=timedelta(hours=WEATHER_HOURS))


def delays(flights: pl.LazyFrame, name: str, by: list[str], span: pl.Expr) -> History:
    """Return how late the flights of the last `span` left.

    Columns: `{name}_delay` (mean, minutes), `{name}_late` (share more than 15 minutes late), `{name}_left` (count).
    """
    departed, delay = flights.filter(pl.col("dep_delay").is_not_null()), pl.col("dep_delay").cast(pl.Int64)
    sums = {"delay": delay, "late": (delay > LATE_DEPARTURE).cast(pl.Int64)}
    totals = running_totals(departed, by, DELAY_KNOWN, DELAY_KNOWN + span, sums)
    columns = [mean("delay").alias(f"{name}_delay"), mean("late").alias(f"{name}_late")]
    return History(by, totals.select(*by, "at", *columns, pl.col("count").alias(f"{name}_left")))


def queues(flights: pl.LazyFrame, name: str, by: list[str], span: pl.Expr) -> History:
    """Return the flights that were scheduled to leave in the last `span` and have not left.

    Columns: `{name}_due` (mean scheduled departure, minutes since 1970), `{name}_waiting` (count).
    """
    left = pl.when(pl.col("dep_delay").is_not_null()).then(DELAY_KNOWN)
    until = pl.min_horizontal(DEPARTURE + span, left)  # a cancelled flight never leaves: it counts for the whole span
    totals = running_totals(flights, by, DEPARTURE, until, {"due": DEPARTURE.dt.epoch("s") // 60})
    due = mean("due", pl.Float64).alias(f"{name}_due")
    return History(by, totals.select(*by, "at", due, pl.col("count").alias(f"{name}_waiting")))


def punctuality(flights: pl.LazyFrame, name: str, by: list[str], settings: Features) -> History:
    """Return how late the flights of the last days arrived; an arrival counts as known a day after departure.

    Columns: `{name}_arrival` (mean delay, minutes, each clipped to -60…240), `{name}_late_arrivals` (share),
    `{name}_flights` (count).
    """
    arrived, delay = flights.filter(pl.col("arr_delay").is_not_null()), pl.col("arr_delay").cast(pl.Int64)
    sums = {"delay": delay.clip(-60, 240), "late": (delay > settings.late_minutes).cast(pl.Int64)}
    known = DELAY_KNOWN + pl.duration(hours=24)
    totals = running_totals(arrived, by, known, known + pl.duration(days=settings.history_days), sums)
    columns = [mean("delay").alias(f"{name}_arrival"), mean("late").alias(f"{name}_late_arrivals")]
    return History(by, totals.select(*by, "at", *columns, pl.col("count").alias(f"{name}_flights")))


def running_totals(
    flights: pl.LazyFrame, by: list[str], since: pl.Expr, until: pl.Expr, sums: Mapping[str, pl.Expr]
) -> pl.LazyFrame:
    """Return `sums` and `count` over the flights of each group that count at a moment, at each change of them.

    A flight counts from `since` to `until`: its values are added at the one and subtracted at the other, so that a
    sort and a cumulative sum do what would take a window per row.
    """
    sums = {"count": pl.lit(1, pl.Int64), **sums}
    grouped = flights.drop_nulls(by)
    added = grouped.select(*by, at=since, **sums)
    subtracted = grouped.select(*by, at=until, **{name: -value for name, value in sums.items()})
    return pl.concat([added, subtracted]).sort("at").with_columns(pl.col(*sums).cum_sum().over(by))


def mean(total: str, dtype: type[pl.DataType] = pl.Float32) -> pl.Expr:
    """Return the mean of a running total over the flights that count; null if none does."""
    return pl.when(pl.col("count") > 0).then(pl.col(total) / pl.col("count")).cast(dtype)
