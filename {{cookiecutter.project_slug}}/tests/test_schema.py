"""All twelve months of the sample keep the data contract."""

import polars as pl
import pytest
from mergeworthy.data.contract import validate

from ml.schema import TABLES


def test_every_month_of_the_sample_keeps_the_contract(flights: dict[str, dict[str, pl.DataFrame]]) -> None:
    for month, tables in flights.items():
        validate(month, tables)

    assert sum(tables["flights"].height for tables in flights.values()) == 336_776


def test_keys_are_unique_over_the_year_not_only_in_a_month(flights: dict[str, dict[str, pl.DataFrame]]) -> None:
    for table in ("flights", "weather"):
        rows = pl.concat([tables[table] for tables in flights.values()])

        assert not rows.select(TABLES[table].unique).is_duplicated().any()


def test_an_impossible_wind_is_null_and_a_repeated_hour_keeps_its_second_reading(
    flights: dict[str, dict[str, pl.DataFrame]],
) -> None:
    storm = flights["2013-02"]["weather"].filter(
        pl.col("time") == pl.datetime(2013, 2, 12, 3), pl.col("origin") == "EWR"
    )
    repeated = flights["2013-11"]["weather"].filter(
        pl.col("time") == pl.datetime(2013, 11, 3, 1), pl.col("origin") == "EWR"
    )

    assert storm["wind_speed"].to_list() == [None]
    assert repeated["temp"].to_list() == pytest.approx([50.0])  # the first reading was 51.98


def test_clock_times_become_datetimes_and_minutes_of_the_day(flights: dict[str, dict[str, pl.DataFrame]]) -> None:
    first = flights["2013-01"]["flights"].filter(pl.col("carrier") == "UA", pl.col("flight") == 1545).row(0, named=True)

    assert str(first["sched_dep"]) == "2013-01-01 05:15:00"  # 515 on the clock
    assert first["sched_arr"] == 8 * 60 + 19  # 819
