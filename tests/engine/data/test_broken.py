"""A delivery that breaks the contract is refused, and nothing changes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.attempts import refusal
from tests.engine.data.delivered import NEW, data_bytes

from mergeworthy.data.fetch import fetch


def parquet(table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[], None]:
    path = NEW / f"{table}.parquet"
    return lambda: change(pl.read_parquet(path)).write_parquet(path)


def cut_short() -> None:
    path = NEW / "weather.parquet"
    path.write_bytes(path.read_bytes()[:-200])


def deliver_february_again() -> None:
    shutil.rmtree(NEW)
    shutil.copytree("source/2013-02", NEW)


AIR_TIME = pl.col("air_time").cast(pl.Int32)
BROKEN: dict[str, tuple[Callable[[], None], str]] = {
    "missing column": (parquet("flights", lambda t: t.drop("dest")), "2013-03/flights: column dest is missing"),
    "extra column": (
        parquet("planes", lambda t: t.with_columns(x=1)),
        "2013-03/planes: column 'x' is not in the contract",
    ),
    "wrong type": (
        parquet("flights", lambda t: t.with_columns(pl.col("distance").cast(pl.String))),
        "2013-03/flights: column distance has type String, expected Int16",
    ),
    "null spike": (
        parquet("flights", lambda t: t.with_columns(dep_delay=pl.when(pl.col("dep_delay") > 0).then("dep_delay"))),
        r"2013-03/flights: column dep_delay is null in \d\d.\d%",
    ),
    "duplicate rows": (
        parquet("weather", lambda t: pl.concat([t, t.head(1)])),
        "2013-03/weather: key origin, time must be unique, but 2 rows share theirs",
    ),
    "no rows": (parquet("flights", lambda t: t.clear()), "2013-03/flights: the table has no rows"),
    "empty file": (lambda: (NEW / "planes.parquet").write_bytes(b""), "2013-03/planes: .*not a whole parquet file"),
    "truncated parquet": (cut_short, "2013-03/weather: .*not a whole parquet file"),
    "missing file": ((NEW / "planes.parquet").unlink, "2013-03/planes: the file .* is missing"),
    "minutes to seconds": (
        parquet("flights", lambda t: t.with_columns(air_time=AIR_TIME * 60)),
        "2013-03/flights: column air_time must",
    ),
    "a month delivered twice": (
        deliver_february_again,
        "2013-03/flights: column sched_dep must lie in the partition 2013-03, but 2,496 of 2,496 rows do not",
    ),
}


@pytest.mark.attempts("broken delivery")
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_month_is_refused_and_nothing_changes(case: str, project: Path) -> None:
    # given two accepted months and a third that is broken
    spoil, message = BROKEN[case]
    spoil()
    before = data_bytes()

    # when it is fetched
    with refusal(message):
        fetch("2013-03")

    # then one line says why, and every byte is as it was
    assert data_bytes() == before
    assert not Path("data/.incoming").exists()


@pytest.mark.attempts("broken delivery")
@pytest.mark.parametrize(
    ("until", "message"),
    [
        ("2013-04", "2013-04 cannot follow 2013-02: the source lacks the partitions between them"),
        ("2013-9", "2013-9 is not a partition of the source in infra.yaml, which has 2013-01 to 2013-04"),
        ("../x", "../x is not a partition of the source"),
    ],
)
def test_a_month_out_of_order_or_unknown_is_refused(until: str, message: str, project: Path) -> None:
    NEW.rename("source/2013-04")
    before = data_bytes()

    with refusal(message):
        fetch(until)

    assert data_bytes() == before
