"""What becomes known over time: delays, queues, weather and habits, as tables that a row looks up by key and moment."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import polars as pl
from mergeworthy import History

from .params import Features, Params

NOW = pl.col("sched_dep")
# A delay is known once the flight has left, and not before it was to leave: so no flight ever sees its own.
KNOWN = NOW + pl.duration(minutes=pl.max_horizontal("dep_delay", 0))
ONE = pl.lit(1, pl.Int64)

RECENT = {"origin": ["origin"], "airline": ["origin", "carrier"], "fleet": ["carrier"], "dest": ["dest"]}
QUEUES = {"origin": ["origin"], "airline": ["origin", "carrier"]}
HABITS = {"route": ["carrier", "origin", "dest"], "number": ["carrier", "flight"], "season": ["origin"]}


def build_history(tables: Mapping[str, pl.LazyFrame], params: Params) -> dict[str, History]:
    """Give every history by name; those of any months can be built alone, given the month before."""
    chosen, flights = params.features, tables["flights"].sort("sched_dep", "carrier", "flight")
    hours = pl.duration(hours=chosen.history_hours)
    found = {"planes": aircraft(tables["planes"]), "weather": weather(tables["weather"], chosen.weather_lag_hours)}
    found |= {f"{name}_delays": delays(flights, name, by, hours) for name, by in RECENT.items()}
    found["aircraft_delays"] = delays(
        flights, "aircraft", ["tailnum"], pl.duration(hours=16)
    )  # since yesterday evening
    found |= {f"{name}_queues": waiting(flights, name, by, hours) for name, by in QUEUES.items()}
    found |= {f"{name}_habits": punctuality(flights, name, by, chosen) for name, by in HABITS.items()}
    return found


def aircraft(planes: pl.LazyFrame) -> History:
    """What flies: maker, type, engine, seats and year of manufacture, known at any time."""
    known = planes.unique("tailnum", keep="last", maintain_order=True)
    built = (pl.datetime(pl.col("year").cast(pl.Int32), 1, 1).dt.epoch("s") // 60).cast(pl.Float64)
    seats = pl.col("seats").cast(pl.Float32)
    always = pl.lit(datetime(1900, 1, 1)).cast(pl.Datetime("us"))
    return History(
        ["tailnum"], known.select("tailnum", "manufacturer", "type", "engine", seats, at=always, built=built)
    )


def weather(observed: pl.LazyFrame, lag_hours: int) -> History:
    """An observation is known `lag_hours` after it was made, and holds for six hours at most.

    Temperatures enter as frost and as distance from the dew point only: as they are they tell the season, and a model
    that has seen no summer is overconfident in it.
    """
    direction, speed = pl.col("wind_dir").radians(), pl.col("wind_speed")
    known = observed.sort("time").select(
        "origin",
        # known just before that moment, so that an observation of exactly this age counts
        (pl.col("time") + pl.duration(hours=lag_hours, microseconds=-1)).alias("at"),
        *("humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"),
        wind_north=direction.cos() * speed,
        wind_east=direction.sin() * speed,
        spread=pl.col("temp") - pl.col("dewp"),
        frost=(pl.col("temp") < 35).cast(pl.Float32),
    )
    return History(["origin"], known, within=timedelta(hours=6))


def delays(flights: pl.LazyFrame, name: str, by: list[str], span: pl.Expr) -> History:
    """How many flights left in the last `span`, how late on average, and which share more than 15 minutes late."""
    left, delay = flights.filter(pl.col("dep_delay").is_not_null()), pl.col("dep_delay").cast(pl.Int64)
    totals = running(left, by, KNOWN, KNOWN + span, {"mean": delay, "share": (delay > 15).cast(pl.Int64)})
    return History(
        by,
        totals.select(
            *by, "at", ratio(f"{name}_delay", "mean"), ratio(f"{name}_late", "share"), _count(f"{name}_left")
        ),
    )


def waiting(flights: pl.LazyFrame, name: str, by: list[str], span: pl.Expr) -> History:
    """How many flights should have left in the last `span` and have not, and for which minute on average."""
    minute = NOW.dt.epoch("s") // 60
    left = pl.when(pl.col("dep_delay").is_not_null()).then(KNOWN)
    until = pl.min_horizontal(NOW + span, left)  # a cancelled flight waits until it is forgotten
    totals = running(flights, by, NOW, until, {"mean": minute})
    return History(by, totals.select(*by, "at", ratio(f"{name}_due", "mean", pl.Float64), _count(f"{name}_waiting")))


def punctuality(flights: pl.LazyFrame, name: str, by: list[str], chosen: Features) -> History:
    """How late flights of the last days arrived; an arrival counts as known a day after departure."""
    arrived, delay = flights.filter(pl.col("arr_delay").is_not_null()), pl.col("arr_delay").cast(pl.Int64)
    sums = {"mean": delay.clip(-60, 240), "share": (delay > chosen.late_minutes).cast(pl.Int64)}
    known = KNOWN + pl.duration(hours=24)
    totals = running(arrived, by, known, known + pl.duration(days=chosen.history_days), sums)
    told = [ratio(f"{name}_arrival", "mean"), ratio(f"{name}_late_arrivals", "share"), _count(f"{name}_flights")]
    return History(by, totals.select(*by, "at", *told))


def running(
    flights: pl.LazyFrame, by: list[str], since: pl.Expr, until: pl.Expr, sums: Mapping[str, pl.Expr]
) -> pl.LazyFrame:
    """Sums, and `count`, over the flights of the same `by` that began to count and still do, at each change of them.

    Each flight adds its values at `since` and takes them back at `until`. Two sorts instead of a window per row.
    """
    sums = {"count": ONE, **sums}
    keyed = flights.drop_nulls(by)
    added = keyed.select(*by, at=since, **sums)
    taken = keyed.select(*by, at=until, **{name: -value for name, value in sums.items()})
    return pl.concat([added, taken]).sort("at").with_columns(pl.col(*sums).cum_sum().over(by))


def ratio(name: str, total: str, dtype: type[pl.DataType] = pl.Float32) -> pl.Expr:
    """A mean over the flights that count; null where there are none."""
    return pl.when(pl.col("count") > 0).then(pl.col(total) / pl.col("count")).cast(dtype).alias(name)


def _count(name: str) -> pl.Expr:
    return pl.col("count").alias(name)
