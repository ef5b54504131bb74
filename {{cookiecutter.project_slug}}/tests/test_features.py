"""A feature row contains nothing that is unknown at its flight's scheduled departure."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from mergeworthy import split_inputs
from polars.testing import assert_frame_equal
from ruamel.yaml import YAML

from ml.features import NOT_INPUTS, TARGET, build_features
from ml.params import Params
from ml.schema import TABLES

Tables = dict[str, pl.DataFrame]
PARAMS = Params.model_validate(YAML(typ="safe").load(Path("params.yaml")))
KEY = ["sched_dep", "carrier", "flight"]


def build(tables: Tables) -> pl.DataFrame:
    return build_features({name: table.lazy() for name, table in tables.items()}, PARAMS).collect()


@pytest.fixture(scope="module")
def tables(flights: dict[str, Tables]) -> Tables:
    """Return the last ten days of January and the first ten of February."""
    both = {name: pl.concat([flights["2013-01"][name], flights["2013-02"][name]]) for name in TABLES}
    start, end = datetime(2013, 1, 22), datetime(2013, 2, 11)
    return both | {"flights": both["flights"].filter(pl.col("sched_dep").is_between(start, end))}


def delay_known() -> pl.Expr:
    late = pl.max_horizontal(pl.col("dep_delay").fill_null(0), 0)
    return pl.col("sched_dep") + pl.duration(minutes=late)


def altered(tables: Tables, now: datetime, *, future: bool, seed: int) -> Tables:
    """Replace everything that was not known at `now` (`future`), or everything that was, by random values."""
    noise = np.random.default_rng(seed)
    flights, weather = tables["flights"], tables["weather"]
    departed = delay_known() < now
    kept = flights.filter(departed if future else ~departed)
    if future:  # a flight in the air has no known arrival: it lands no sooner than after its time in the air
        flying = delay_known() + pl.duration(minutes=pl.col("air_time")) >= now
        arrival = pl.Series(noise.integers(-30, 300, kept.height), dtype=pl.Int16)
        kept = kept.with_columns(arr_delay=pl.when(flying).then(arrival).otherwise("arr_delay"))
    replaced = flights.filter(~departed if future else departed)
    delay = pl.Series(noise.integers(0, 300, replaced.height), dtype=pl.Int16)
    # A flight that has not left at `now` must still not have left then: it leaves at any later time, or never.
    minimum = (
        (pl.lit(now) - pl.col("sched_dep")).dt.total_minutes().clip(0).cast(pl.Int16) if future else pl.lit(0, pl.Int16)
    )
    cancelled = pl.Series(noise.random(replaced.height) < 0.1)
    replaced = replaced.with_columns(
        dep_delay=pl.when(~cancelled).then(minimum + delay),
        arr_delay=pl.when(~cancelled).then(delay - 30),
    )
    unknown = pl.col("time") > now - timedelta(hours=PARAMS.features.weather_lag_hours)
    numbers = pl.selectors.float()
    weather = weather.with_columns(pl.when(unknown if future else ~unknown).then(numbers * 0.5 + 1).otherwise(numbers))
    return tables | {"flights": pl.concat([kept, replaced]), "weather": weather}


def row(tables: Tables, key: pl.DataFrame) -> pl.DataFrame:
    """Return the inputs of one flight."""
    categories, numbers = split_inputs(build(tables.copy()).schema, NOT_INPUTS)
    return build(tables).join(key, on=KEY, how="semi").select([*categories, *numbers])


@pytest.mark.parametrize("seed", range(12))
def test_a_row_does_not_change_with_the_future_and_does_with_the_past(tables: Tables, seed: int) -> None:
    # given a random flight of February
    february = tables["flights"].filter(pl.col("sched_dep") > datetime(2013, 2, 3))
    key = february.sample(1, seed=seed).select(KEY)
    now, before = key["sched_dep"][0], row(tables, key)
    # when all that was unknown at its scheduled departure is replaced, arrivals of flights in the air included
    assert_frame_equal(row(altered(tables, now, future=True, seed=seed), key), before)
    # then its inputs stay the same; and they change if what was known is replaced in the same way
    assert not row(altered(tables, now, future=False, seed=seed), key).equals(before)


def test_rows_do_not_change_if_later_flights_are_removed(tables: Tables) -> None:
    noon = datetime(2013, 2, 5, 12)
    cut = tables | {"flights": tables["flights"].filter(pl.col("sched_dep") <= noon)}
    rows = build(tables).filter(pl.col("sched_dep") <= noon)
    assert_frame_equal(build(cut), rows)


def test_a_month_and_the_one_before_are_enough(flights: dict[str, Tables]) -> None:
    # given three months at once, and the last of them with only the one before
    def months(*names: str) -> Tables:
        return {table: pl.concat([flights[name][table] for name in names]) for table in TABLES}

    march = pl.col("sched_dep") >= datetime(2013, 3, 1)
    all_at_once = build(months("2013-01", "2013-02", "2013-03")).filter(march)
    assert_frame_equal(build(months("2013-02", "2013-03")).filter(march), all_at_once)


def test_every_flight_has_a_row_and_only_arrived_flights_have_a_target(tables: Tables) -> None:
    rows = build(tables)
    assert rows.height == tables["flights"].height
    arrived = tables["flights"].sort(KEY)["arr_delay"].is_not_null()
    assert (rows[TARGET].is_not_null() == arrived).all()
    categories, numbers = split_inputs(rows.schema, NOT_INPUTS)
    assert not {*categories, *numbers} & (NOT_INPUTS | {"dep_delay", "arr_delay", "air_time"})
