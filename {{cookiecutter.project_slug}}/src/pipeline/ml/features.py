"""From the tables of the contract to one row per flight, with nothing that is unknown at its scheduled departure.

Every function is lazy and takes and gives all flights, so that any subset of months may be built, given the one before.
"""

from collections.abc import Mapping

import polars as pl

from .params import Features, Params

LABEL = "late"
NOT_INPUTS = {"sched_dep", "flight", "tailnum", "date", "hour", LABEL}

NOW = pl.col("sched_dep")
MINUTE = NOW.dt.hour().cast(pl.Int32) * 60 + NOW.dt.minute()
# A delay is known once the flight has left, and not before it was to leave: so no flight ever sees its own.
KNOWN = NOW + pl.duration(minutes=pl.max_horizontal("dep_delay", 0))

RECENT = {"origin": ["origin"], "airline": ["origin", "carrier"], "fleet": ["carrier"], "dest": ["dest"]}
QUEUES = {"origin": ["origin"], "airline": ["origin", "carrier"]}
HABITS = {"route": ["carrier", "origin", "dest"], "number": ["carrier", "flight"], "season": ["origin"]}


def inputs(columns: Mapping[str, pl.DataType]) -> tuple[list[str], list[str]]:
    """Names of the model's categories and numbers: all feature columns but keys, dates and the label."""
    names = [name for name in columns if name not in NOT_INPUTS]
    categories = [name for name in names if columns[name] == pl.String]
    return categories, [name for name in names if name not in categories]


def build_features(tables: Mapping[str, pl.LazyFrame], params: Params) -> pl.LazyFrame:
    """Give a row per flight: keys, `date`, `hour`, the inputs, and the label where it is known."""
    chosen = params.features
    flights = tables["flights"].sort("sched_dep", "carrier", "flight")
    rows = flights.with_columns((pl.col("arr_delay") > chosen.late_minutes).alias(LABEL)).drop("air_time", "arr_delay")
    rows = rows.drop("dep_delay").pipe(calendar).pipe(aircraft, tables["planes"])
    rows = rows.pipe(weather, tables["weather"], chosen.weather_lag_hours)
    hours = pl.duration(hours=chosen.history_hours)
    for name, by in RECENT.items():
        rows = rows.pipe(delays, flights, name, by, hours)
    rows = rows.pipe(delays, flights, "aircraft", ["tailnum"], pl.duration(hours=16))  # since yesterday evening
    for name, by in QUEUES.items():
        rows = rows.pipe(waiting, flights, name, by, hours)
    for name, by in HABITS.items():
        rows = rows.pipe(punctuality, flights, name, by, chosen)
    return rows


def calendar(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Date, hour, and the times as numbers. No month: with less than some years of data it can only mislead."""
    return rows.with_columns(
        date=NOW.dt.date(),
        hour=NOW.dt.hour(),
        minute=MINUTE.cast(pl.Float32),
        weekday=NOW.dt.weekday().cast(pl.Float32),
        arrival_minute=pl.col("sched_arr").cast(pl.Float32),
        block_minutes=((pl.col("sched_arr") - MINUTE) % 1440).cast(pl.Float32),
        distance=pl.col("distance").cast(pl.Float32),
    ).drop("sched_arr")


def aircraft(rows: pl.LazyFrame, planes: pl.LazyFrame) -> pl.LazyFrame:
    """What flies: maker, type, engine, seats, and age in years."""
    known = planes.unique("tailnum", keep="last", maintain_order=True).select(
        "tailnum", "manufacturer", "type", "engine", pl.col("seats").cast(pl.Float32), built="year"
    )
    joined = rows.join(known, on="tailnum", how="left", maintain_order="left")
    return joined.with_columns(age=(NOW.dt.year() - pl.col("built")).cast(pl.Float32)).drop("built")


def weather(rows: pl.LazyFrame, observed: pl.LazyFrame, lag_hours: int) -> pl.LazyFrame:
    """Join the newest observation at the origin that is at least `lag_hours` old, and not older than six hours more.

    Temperatures enter as frost and as distance from the dew point only: as they are they tell the season, and a model
    that has seen no summer is overconfident in it.
    """
    direction, speed = pl.col("wind_dir").radians(), pl.col("wind_speed")
    known = observed.sort("time").select(
        "origin",
        "time",
        *("humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"),
        wind_north=direction.cos() * speed,
        wind_east=direction.sin() * speed,
        spread=pl.col("temp") - pl.col("dewp"),
        frost=(pl.col("temp") < 35).cast(pl.Float32),
    )
    moment = rows.with_columns(moment=NOW - pl.duration(hours=lag_hours))
    joined = moment.join_asof(
        known, left_on="moment", right_on="time", by="origin", tolerance="6h", check_sortedness=False
    )
    return joined.drop("moment", "time", strict=False)


def delays(rows: pl.LazyFrame, flights: pl.LazyFrame, name: str, by: list[str], span: pl.Expr) -> pl.LazyFrame:
    """How many flights left in the last `span`, how late on average, and which share more than 15 minutes late."""
    left, delay = flights.filter(pl.col("dep_delay").is_not_null()), pl.col("dep_delay").cast(pl.Int64)
    sums = {"count": pl.lit(1, pl.Int64), "mean": delay, "share": (delay > 15).cast(pl.Int64)}
    summed = rolling(rows, left, by, KNOWN, KNOWN + span, sums)
    return summed.with_columns(
        ratio(f"{name}_delay", "mean"), ratio(f"{name}_late", "share"), count(f"{name}_left")
    ).drop(sums)


def waiting(rows: pl.LazyFrame, flights: pl.LazyFrame, name: str, by: list[str], span: pl.Expr) -> pl.LazyFrame:
    """How many flights should have left in the last `span` and have not, and for how many minutes on average."""
    minute = NOW.dt.epoch("s") // 60
    left = pl.when(pl.col("dep_delay").is_not_null()).then(KNOWN)
    until = pl.min_horizontal(NOW + span, left)  # a cancelled flight waits until it is forgotten
    sums = {"count": pl.lit(1, pl.Int64), "mean": minute}
    summed = rolling(rows, flights, by, NOW, until, sums)
    overdue = pl.when(pl.col("count") > 0).then(minute - pl.col("mean") / pl.col("count")).cast(pl.Float32)
    return summed.with_columns(overdue.alias(f"{name}_overdue"), count(f"{name}_waiting")).drop(sums)


def punctuality(rows: pl.LazyFrame, flights: pl.LazyFrame, name: str, by: list[str], chosen: Features) -> pl.LazyFrame:
    """How late flights of the last days arrived; an arrival counts as known a day after departure."""
    arrived, delay = flights.filter(pl.col("arr_delay").is_not_null()), pl.col("arr_delay").cast(pl.Int64)
    late = delay > chosen.late_minutes
    sums = {"count": pl.lit(1, pl.Int64), "mean": delay.clip(-60, 240), "share": late.cast(pl.Int64)}
    known = KNOWN + pl.duration(hours=24)
    summed = rolling(rows, arrived, by, known, known + pl.duration(days=chosen.history_days), sums)
    told = [ratio(f"{name}_arrival", "mean"), ratio(f"{name}_late_arrivals", "share"), count(f"{name}_flights")]
    return summed.with_columns(told).drop(sums)


def rolling(
    rows: pl.LazyFrame,
    flights: pl.LazyFrame,
    by: list[str],
    since: pl.Expr,
    until: pl.Expr,
    sums: Mapping[str, pl.Expr],
) -> pl.LazyFrame:
    """Sum over the flights of the same `by` that began to count strictly before a row's departure and still do.

    Each flight adds its values at `since` and takes them back at `until`; a row reads the running total just before
    its own moment. Two sorts instead of a window per row.
    """
    added = flights.select(*by, at=since, **sums)
    taken = flights.select(*by, at=until, **{name: -value for name, value in sums.items()})
    totals = pl.concat([added, taken]).sort("at").with_columns(pl.col(*sums).cum_sum().over(by))
    joined = rows.join_asof(
        totals, left_on="sched_dep", right_on="at", by=by, allow_exact_matches=False, check_sortedness=False
    )
    return joined.drop("at", strict=False)


def ratio(name: str, total: str) -> pl.Expr:
    """A mean over the flights that count; null where there are none."""
    return pl.when(pl.col("count") > 0).then(pl.col(total) / pl.col("count")).cast(pl.Float32).alias(name)


def count(name: str) -> pl.Expr:
    """How many flights count."""
    return pl.col("count").fill_null(0).cast(pl.Float32).alias(name)
