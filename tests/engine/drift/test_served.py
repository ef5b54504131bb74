"""Which answers of the prediction log count: those for the source's own inputs, from before the row's moment."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mergeworthy.data.predictions import logged_columns
from mergeworthy.drift import check
from mergeworthy.errors import UserError
from ml.schema import TABLES

COLUMNS = logged_columns(TABLES["flights"])
NOON = datetime(2013, 7, 1, 16, tzinfo=UTC)  # 12:00 in New York
EARLY, LATE = NOON - timedelta(days=2), NOON + timedelta(days=40)


@pytest.fixture
def source(flights: dict[str, dict[str, pl.DataFrame]]) -> pl.DataFrame:
    """Return five flights of one day at noon."""
    rows = flights["2013-03"]["flights"].unique(["carrier", "flight"], maintain_order=True).head(5)
    return rows.with_columns(sched_dep=pl.lit(datetime(2013, 7, 1, 12)).cast(pl.Datetime("us")))


def answer(rows: pl.DataFrame, score: float, time: datetime, **changes: Any) -> pl.DataFrame:
    """Return answers for these rows, with the inputs in `changes` replaced."""
    inputs = rows.select(COLUMNS).with_columns(
        pl.lit(value).cast(rows.schema[name]).alias(name) for name, value in changes.items()
    )
    return inputs.with_columns(time=pl.lit(time).cast(pl.Datetime("us", "UTC")), score=pl.lit(score))


def compare(folder: Path, source: pl.DataFrame, *answers: pl.DataFrame) -> tuple[dict[int, float], Any]:
    """Return the scores that count, by the row's index in the source, and the figures."""
    source.write_parquet(folder / "flights.parquet")
    log = check.Served(pl.concat(answers).sort("time", maintain_order=True), Counter())
    delivered = source.with_row_index("index").lazy()
    parts = log.rows(delivered, folder / "flights.parquet", ["index"])
    return {row[0]: round(row[1], 3) for part in parts for row in part.rows()}, log.figures


def test_the_newest_answer_in_time_for_the_sources_inputs_counts(source: pl.DataFrame, tmp_path: Path) -> None:
    scores, log = compare(
        tmp_path,
        source,
        answer(source[:4], 0.1, EARLY),
        answer(source[:1], 0.2, EARLY + timedelta(hours=1)),  # requested again
        answer(source[1:2], 0.9, EARLY + timedelta(hours=2), distance=6000),  # forged, beside a true one
        answer(source[2:3], 0.9, LATE),  # true, and too late to be a prediction
        answer(source[4:], 0.9, EARLY, distance=6000, dest="XXX"),  # forged, with no true one
    )
    assert scores == {0: 0.2, 1: 0.1, 2: 0.1, 3: 0.1}
    assert (log.rows, log.counted, log.skewed, log.late) == (5, 4, 1, 0)
    assert log.columns == {"distance": 1, "dest": 1}
    assert log.skew == pytest.approx(0.2)


@pytest.mark.parametrize(("minutes", "counts"), [(-1, True), (0, True), (1, False)])
def test_a_moment_is_in_the_clock_of_the_data(
    source: pl.DataFrame, tmp_path: Path, minutes: int, *, counts: bool
) -> None:
    scores, log = compare(tmp_path, source, answer(source[:1], 0.5, NOON + timedelta(minutes=minutes)))
    assert (len(scores), log.late) == ((1, 0) if counts else (0, 1))


def test_an_hour_that_the_clock_skips_is_the_next_one(source: pl.DataFrame, tmp_path: Path) -> None:
    skipped = source.with_columns(sched_dep=pl.lit(datetime(2013, 3, 10, 2, 30)).cast(pl.Datetime("us")))
    for hour, late in ((7, 0), (8, 5)):
        _, log = compare(tmp_path, skipped, answer(skipped, 0.5, datetime(2013, 3, 10, hour, tzinfo=UTC)))
        assert log.late == late


def test_a_flood_of_forged_answers_displaces_no_true_one(source: pl.DataFrame, tmp_path: Path) -> None:
    # given one true answer for each row, and a hundred forged ones before and after it
    flood = [answer(source, 0.99, EARLY + timedelta(seconds=n), distance=n) for n in range(1, 101)]
    scores, log = compare(tmp_path, source, *flood, answer(source, 0.1, EARLY + timedelta(seconds=50)))
    assert set(scores.values()) == {0.1}
    assert (log.counted, log.skewed) == (5, 0)


def test_an_unknown_time_zone_is_named(source: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES["flights"].metadata, "time_zone", "New York")
    with pytest.raises(UserError, match="time_zone is 'New York'"):
        compare(tmp_path, source, answer(source, 0.5, EARLY))
