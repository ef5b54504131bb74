"""The months of the sample keep the data contract, and their hours are those of the clock."""

from datetime import datetime

import polars as pl
from mergeworthy.data.contract import validate
from mergeworthy.data.sources import Demand

from ml.schema import PLACES


def test_every_month_of_the_sample_keeps_the_contract() -> None:
    source = Demand()
    months = source.partitions()
    for month in months:
        validate(month, source.read(month))

    assert (months[0], months[-1], len(months)) == ("2019-02", "2025-12", 83)


def test_each_place_has_each_hour_once(months: dict[str, pl.DataFrame]) -> None:
    for counts in months.values():
        assert sorted(counts["place"].unique()) == PLACES
        assert counts.select("time", "place").is_unique().all()
        assert counts.height % (24 * len(PLACES)) == 0


def test_the_hours_before_six_are_of_the_next_morning() -> None:
    # given the evening of New Year's Eve, when the streets are full
    december, january = (Demand().read(month)["counts"] for month in ("2023-12", "2024-01"))
    queen = pl.concat([december, january]).filter(pl.col("place") == "45 Queen Street")
    before, after = (
        queen.filter(pl.col("time") == datetime(*at))["people"].item() for at in ((2023, 12, 31, 23), (2024, 1, 1, 0))
    )
    # then the hour after midnight follows the hour before it
    assert (before, after) == (1356, 1914)
