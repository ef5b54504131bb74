"""A feature row contains nothing that is unknown when its forecast is made."""

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from mergeworthy import split_inputs
from polars.testing import assert_frame_equal
from ruamel.yaml import YAML

from ml.features import NOT_INPUTS, TARGET, build_features
from ml.params import Params

PARAMS = Params.model_validate(YAML(typ="safe").load(Path("params.yaml")))
HORIZON = timedelta(hours=PARAMS.features.horizon_hours)


def build(counts: pl.DataFrame) -> pl.DataFrame:
    return build_features({"counts": counts.lazy()}, PARAMS).collect()


@pytest.fixture(scope="module")
def counts(months: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([months["2023-10"], months["2023-11"]])


@pytest.mark.parametrize("seed", range(6))
def test_a_row_does_not_change_with_what_is_unknown_and_does_with_what_is_known(
    counts: pl.DataFrame, seed: int
) -> None:
    # given a random row of the second half, and noise instead of every count
    row = counts.filter(pl.col("time") > datetime(2023, 11, 5)).sample(1, seed=seed)
    noise = pl.Series(np.random.default_rng(seed).integers(0, 3_000, counts.height), dtype=pl.Int32)
    unknown = pl.col("time") + timedelta(hours=1) > row["time"][0] - HORIZON  # its hour had not ended

    def inputs(table: pl.DataFrame) -> pl.DataFrame:
        return build(table).join(row, on=["time", "place"], how="semi").drop(*NOT_INPUTS)

    # when what was unknown is replaced, its inputs stay the same; they change with what was known
    later = counts.with_columns(people=pl.when(unknown).then(noise).otherwise("people"))
    earlier = counts.with_columns(people=pl.when(unknown).then("people").otherwise(noise))
    assert_frame_equal(inputs(later), inputs(counts))
    assert not inputs(earlier).equals(inputs(counts))


def test_a_month_and_the_one_before_are_enough(months: dict[str, pl.DataFrame]) -> None:
    december = pl.col("time") >= datetime(2023, 12, 1)
    all_at_once = build(pl.concat(months.values())).filter(december)
    assert_frame_equal(build(pl.concat([months["2023-11"], months["2023-12"]])).filter(december), all_at_once)


def test_the_history_is_that_of_the_same_hour_of_former_days(counts: pl.DataFrame) -> None:
    rows = build(counts).filter(pl.col("place") == "45 Queen Street", pl.col("time") == datetime(2023, 11, 20, 12))
    known = counts.filter(pl.col("place") == "45 Queen Street", pl.col("time").dt.hour() == 12)
    people = dict(zip(known["time"].dt.date(), known["people"], strict=True))
    assert rows["ago_7"].item() == people[date(2023, 11, 13)]
    weeks = [people[date(2023, 11, 20) - timedelta(days=days)] for days in (7, 14, 21, 28)]
    assert rows["usual"].item() == pytest.approx(np.mean(weeks))


def test_every_count_has_a_row_and_a_missing_reading_has_no_target(counts: pl.DataFrame) -> None:
    rows = build(counts.with_columns(people=pl.when(pl.col("place") != "150 K Road").then("people")))
    assert rows.height == counts.height
    assert (rows[TARGET].is_null() >= (rows["place"] == "150 K Road")).all()
    categories, numbers = split_inputs(rows.schema, NOT_INPUTS)
    assert categories == ["place"]
    assert not {*numbers} & {"people", "date", TARGET}
