"""A feature row holds nothing that is unknown at its flight's scheduled departure."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from mergeworthy import split_inputs
from polars.testing import assert_frame_equal
from ruamel.yaml import YAML

from ml.features import LABEL, NOT_INPUTS, build_features
from ml.params import Params
from ml.schema import TABLES

Tables = dict[str, pl.DataFrame]
PARAMS = Params.model_validate(YAML(typ="safe").load(Path("params.yaml")))
KEY = ["sched_dep", "carrier", "flight"]


def build(tables: Tables) -> pl.DataFrame:
    return build_features({name: table.lazy() for name, table in tables.items()}, PARAMS).collect()


@pytest.fixture(scope="module")
def tables(flights: dict[str, Tables]) -> Tables:
    """The last ten days of January and the first ten of February."""
    both = {name: pl.concat([flights["2013-01"][name], flights["2013-02"][name]]) for name in TABLES}
    start, end = datetime(2013, 1, 22), datetime(2013, 2, 11)
    return both | {"flights": both["flights"].filter(pl.col("sched_dep").is_between(start, end))}


def known_at() -> pl.Expr:
    late = pl.max_horizontal(pl.col("dep_delay").fill_null(0), 0)
    return pl.col("sched_dep") + pl.duration(minutes=late)


def altered(tables: Tables, now: datetime, *, future: bool, seed: int) -> Tables:
    """The same history with everything that was not yet known at `now` (or, else, all that was) made up anew."""
    noise = np.random.default_rng(seed)
    flights, weather = tables["flights"], tables["weather"]
    departed = known_at() < now
    kept = flights.filter(departed if future else ~departed)
    if future:  # what has left but not landed has no known arrival: none lands sooner than its time in the air
        flying = known_at() + pl.duration(minutes=pl.col("air_time")) >= now
        unknown = pl.Series(noise.integers(-30, 300, kept.height), dtype=pl.Int16)
        kept = kept.with_columns(arr_delay=pl.when(flying).then(unknown).otherwise("arr_delay"))
    open_ = flights.filter(~departed if future else departed)
    delay = pl.Series(noise.integers(0, 300, open_.height), dtype=pl.Int16)
    # A flight whose departure is still open at `now` stays open: it may leave at any later time, or never.
    least = (
        (pl.lit(now) - pl.col("sched_dep")).dt.total_minutes().clip(0).cast(pl.Int16) if future else pl.lit(0, pl.Int16)
    )
    cancelled = pl.Series(noise.random(open_.height) < 0.1)
    made_up = open_.with_columns(
        dep_delay=pl.when(~cancelled).then(least + delay),
        arr_delay=pl.when(~cancelled).then(delay - 30),
    )
    fresh = pl.col("time") > now - timedelta(hours=PARAMS.features.weather_lag_hours)
    numbers = pl.selectors.float()
    changed = weather.with_columns(pl.when(fresh if future else ~fresh).then(numbers * 0.5 + 1).otherwise(numbers))
    return tables | {"flights": pl.concat([kept, made_up]), "weather": changed}


def row(tables: Tables, key: pl.DataFrame) -> pl.DataFrame:
    """Inputs of one flight."""
    categories, numbers = split_inputs(build(tables.copy()).schema, NOT_INPUTS)
    return build(tables).join(key, on=KEY, how="semi").select([*categories, *numbers])


@pytest.mark.parametrize("seed", range(12))
def test_a_row_does_not_change_with_the_future_and_does_with_the_past(tables: Tables, seed: int) -> None:
    # given some flight of February
    february = tables["flights"].filter(pl.col("sched_dep") > datetime(2013, 2, 3))
    key = february.sample(1, seed=seed).select(KEY)
    now, before = key["sched_dep"][0], row(tables, key)
    # when all that was unknown when it was to leave is made up anew, arrivals of flights in the air among it
    assert_frame_equal(row(altered(tables, now, future=True, seed=seed), key), before)
    # then nothing changes; and the same alteration of what was known does show
    assert not row(altered(tables, now, future=False, seed=seed), key).equals(before)


def test_later_flights_do_not_exist_yet(tables: Tables) -> None:
    noon = datetime(2013, 2, 5, 12)
    cut = tables | {"flights": tables["flights"].filter(pl.col("sched_dep") <= noon)}
    rows = build(tables).filter(pl.col("sched_dep") <= noon)
    assert_frame_equal(build(cut), rows)


def test_a_month_with_the_one_before_is_enough(flights: dict[str, Tables]) -> None:
    # given three months at once, and the last of them with only its predecessor
    def months(*names: str) -> Tables:
        return {table: pl.concat([flights[name][table] for name in names]) for table in TABLES}

    march = pl.col("sched_dep") >= datetime(2013, 3, 1)
    all_at_once = build(months("2013-01", "2013-02", "2013-03")).filter(march)
    assert_frame_equal(build(months("2013-02", "2013-03")).filter(march), all_at_once)


def test_every_flight_has_a_row_and_only_flown_ones_a_label(tables: Tables) -> None:
    rows = build(tables)
    assert rows.height == tables["flights"].height
    known = tables["flights"].sort(KEY)["arr_delay"].is_not_null()
    assert (rows[LABEL].is_not_null() == known).all()
    categories, numbers = split_inputs(rows.schema, NOT_INPUTS)
    assert not {*categories, *numbers} & (NOT_INPUTS | {"dep_delay", "arr_delay", "air_time"})
