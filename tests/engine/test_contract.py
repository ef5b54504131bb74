"""Each way in which a delivery can be broken is one message that names partition, table, column and rule."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pandera.polars as pa
import polars as pl
import pytest
from tests.attempts import attempt, refusal

from mergeworthy.data.contract import period, validate
from mergeworthy.stages.features import in_partition

MONTH = "2013-02"
Tables = dict[str, pl.DataFrame]


def flights(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Tables], Tables]:
    return lambda tables: tables | {"flights": change(tables["flights"])}


def weather(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Tables], Tables]:
    return lambda tables: tables | {"weather": change(tables["weather"])}


def column(name: str, values: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda table: table.with_columns(values.alias(name))


def nulled(name: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return column(name, pl.when(pl.int_range(pl.len()) % 2 == 0).then(name))


BROKEN: dict[str, tuple[Callable[[Tables], Tables], str]] = {
    "a table is missing": (lambda tables: {"flights": tables["flights"]}, "2013-02/planes: the table is missing"),
    "a table too many": (lambda tables: tables | {"crew": pl.DataFrame()}, "2013-02/crew: the table is not in"),
    "a missing column": (flights(lambda t: t.drop("air_time")), "2013-02/flights: column air_time is missing"),
    "an extra column": (flights(lambda t: t.with_columns(gate=1)), "2013-02/flights: column 'gate' is not in the"),
    "a wrong type": (
        flights(column("air_time", pl.col("air_time").cast(pl.String))),
        "2013-02/flights: column air_time has type String, expected Int16",
    ),
    "an unknown airport": (
        flights(column("origin", pl.lit("BOS"))),
        r"2013-02/flights: column origin must satisfy isin\(.*\), but 24,951 of 24,951 rows do not, e.g. 'BOS'",
    ),
    "nulls where none may be": (flights(nulled("distance")), "column distance must not be null, but 12,475 of 24,951"),
    "a null spike": (flights(nulled("arr_delay")), r"column arr_delay is null in 5\d.\d% .*, max_null is 15.0%"),
    "NaN": (
        weather(column("temp", pl.lit(float("nan"), pl.Float32))),
        "column temp holds NaN or infinity in 2,010 of 2,010 rows",
    ),
    "duplicate rows": (
        flights(lambda t: pl.concat([t, t.head(2)])),
        # and no other column is shown, for one is private
        r"2013-02/flights: key sched_dep, carrier, flight must be unique, but 4 rows share theirs, e.g. 2013-02-\S+ "
        r"\S+, .\w\w., \d+$",
    ),
    "no rows": (flights(lambda t: t.clear()), "2013-02/flights: the table has no rows"),
    "minutes become seconds": (
        flights(column("air_time", (pl.col("air_time").cast(pl.Int32) * 60).clip(upper_bound=32_767).cast(pl.Int16))),
        r"2013-02/flights: column air_time must satisfy in_range\(5, 1000\)",
    ),
    "miles become kilometres": (
        flights(column("distance", (pl.col("distance") * 1.609).cast(pl.Int16).clip(upper_bound=6000))),
        "2013-02/flights: column distance has median 1403, expected 600 to 1150: has its unit changed",
    ),
    "Fahrenheit becomes Celsius": (
        weather(column("temp", (pl.col("temp") - 32) / 1.8)),
        "2013-02/weather: column temp has median 1.1, expected 28 to 95: has its unit changed",
    ),
    "another month's rows": (
        flights(column("sched_dep", pl.col("sched_dep").dt.offset_by("-1mo"))),
        "2013-02/flights: column sched_dep must lie in the partition 2013-02, but 24,951 of",
    ),
    "half a month": (
        flights(lambda t: t.filter(pl.col("sched_dep").dt.day() <= 14)),
        "2013-02/flights: column sched_dep has no rows between 2013-02-14 .* and 2013-03-01 .*incomplete",
    ),
}


@pytest.mark.attempts("broken delivery")
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_delivery_is_one_sentence(case: str, flights: dict[str, Tables]) -> None:
    # given a good month, broken in one way
    change, message = BROKEN[case]
    tables = change(flights[MONTH])

    # when it is validated / then one line says so
    with refusal(message):
        validate(MONTH, tables)


@pytest.mark.parametrize(
    ("name", "days"), [("2013", 365), ("2013-02", 28), ("2013-12", 31), ("2012-02-29", 1), ("2013-13", 0), ("q3", 0)]
)
def test_a_partition_is_a_year_a_month_a_day_or_no_period(name: str, days: int) -> None:
    span = period(name)

    assert span is None if days == 0 else span == (span[0], span[0] + timedelta(days=days))


@pytest.mark.parametrize("name", ["january", "9999-12", "9999", "2013-02-30", "0000-01", "2013-W05"])
def test_a_time_column_needs_partitions_that_are_periods(name: str, flights: dict[str, Tables]) -> None:
    with refusal(f"{name}: the contract has a time column"):
        validate(name, flights["2013-01"])


@pytest.mark.parametrize("kind", [pl.List(pl.Float32), pl.Array(pl.Float64, 2), pl.Struct({"a": pl.Float64})])
def test_nan_breaks_the_contract_within_a_value_too(kind: pl.DataType) -> None:
    value = {"a": float("nan")} if kind == pl.Struct else [1.0, float("nan")]
    table = pl.DataFrame({"x": [value]}, schema={"x": kind})
    with refusal("column x holds NaN or infinity in 1 of . values"):
        validate(MONTH, {"t": table}, {"t": pa.DataFrameSchema({"x": pa.Column(kind)})})


def test_period_starts_where_the_name_says() -> None:
    assert period("2013-12") == (datetime(2013, 12, 1), datetime(2014, 1, 1))


HOURS = pl.datetime_range(datetime(2013, 2, 1), datetime(2013, 3, 1), "1h", closed="left", eager=True)
TIMES: dict[str, tuple[pl.Series, str | None]] = {
    "Date": (HOURS.dt.date(), None),
    "Datetime ms": (HOURS.cast(pl.Datetime("ms")), None),
    "Datetime ns": (HOURS.cast(pl.Datetime("ns")), None),
    "a zone": (HOURS.dt.replace_time_zone("America/New_York"), None),
    "a zone that is late": (
        HOURS.dt.replace_time_zone("America/New_York").dt.convert_time_zone("UTC"),
        "but 5 of 672 rows do not",
    ),
    "the day after": (HOURS.dt.date().dt.offset_by("1d"), "must lie in the partition 2013-02, .* e.g. 2013-03-01"),
    "an integer": (HOURS.dt.epoch("s"), "`time` names at, whose type is Int64: it must be Date or Datetime"),
    "a text": (HOURS.dt.to_string("%Y-%m-%d"), "`time` names at, whose type is String"),
    "a gap of dates": (HOURS.dt.date().filter(HOURS.dt.day() < 20), "has no rows between 2013-02-19 and 2013-03-01"),
}


@pytest.mark.attempts("type of the time column")
@pytest.mark.parametrize("case", TIMES)
def test_time_is_of_any_type_that_is_a_time(case: str) -> None:
    # given a table whose rows have a time of some type
    times, message = TIMES[case]
    metadata = {"time": "at", "max_gap_hours": 24}
    schema = pa.DataFrameSchema({"at": pa.Column(times.dtype)}, strict=True, metadata=metadata)
    table = times.alias("at").to_frame()

    # when it is validated / then it lies in its partition, or one line says what does not
    result = attempt(case, lambda: validate(MONTH, {"t": table}, {"t": schema}))
    assert result is None if message is None else re.search(message, str(result)), result
    if message is None:
        assert table.filter(in_partition("at", MONTH)).height == table.height


NUMBERS = {"x": pa.Column(pl.Float64, nullable=True), "y": pa.Column(pl.String, nullable=True)}


def ruled(**rules: object) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({**NUMBERS, "x": pa.Column(pl.Float64, nullable=True, metadata=rules)})


SCHEMAS: dict[str, tuple[pa.DataFrameSchema, str]] = {
    "a share as a text": (ruled(max_null="5%"), "column x: metadata max_null must be a share from 0 to 1, not '5%'"),
    "a share in per cent": (ruled(max_null=5), "metadata max_null must be a share from 0 to 1, not 5"),
    "a share that is none": (ruled(max_null=None), "metadata max_null must be .* not None"),
    "a rule by another name": (ruled(max_nul=0.1), "metadata 'max_nul' is no rule: is max_null meant"),
    "one median": (ruled(median=5), "metadata median must be its least and its greatest value.* not 5"),
    "a median upside down": (ruled(median=(5, 1)), r"metadata median must be .* not \(5, 1\)"),
    "no answer to yes or no": (ruled(private="no"), "metadata private must be True or False, not 'no'"),
    "rules in a list": (
        pa.DataFrameSchema({**NUMBERS, "x": pa.Column(pl.Float64, metadata=["private"])}),  # type: ignore[arg-type]
        "metadata must be a dictionary",
    ),
    "a gap as a text": (
        pa.DataFrameSchema(NUMBERS, metadata={"time": "x", "max_gap_hours": "24"}),
        "table t: metadata max_gap_hours must be a number of hours above 0, not '24'",
    ),
    "a gap of no column": (pa.DataFrameSchema(NUMBERS, metadata={"max_gap_hours": 24}), "`max_gap_hours` needs `time`"),
    "two times": (pa.DataFrameSchema(NUMBERS, metadata={"time": ["x", "y"]}), "metadata time must be the name of a"),
    "a key that names a column twice": (
        pa.DataFrameSchema(NUMBERS, unique=["x", "x"]),
        "`unique` names a column twice",
    ),
    "a check of the table that fails": (
        pa.DataFrameSchema(NUMBERS, checks=pa.Check(lambda _: 1 / 0)),
        "src/ml/schema.py: a check of the table: .* cannot be checked: ZeroDivisionError",
    ),
    "a time that is not there": (
        pa.DataFrameSchema(NUMBERS, metadata={"time": "at"}),
        "names 'at', which is no column",
    ),
    "a key that is not there": (pa.DataFrameSchema(NUMBERS, unique=["z"]), "names 'z', which is no column"),
    "a column without a type": (pa.DataFrameSchema({**NUMBERS, "z": pa.Column()}), "column z needs a name .* a type"),
    "an optional column": (
        pa.DataFrameSchema({**NUMBERS, "z": pa.Column(pl.Int8, required=False)}),
        "column z needs .*required=True",
    ),
    "a pattern of names": (pa.DataFrameSchema({**NUMBERS, "z.*": pa.Column(pl.Int8, regex=True)}), "needs a name"),
    "a check of another type": (
        pa.DataFrameSchema({**NUMBERS, "y": pa.Column(pl.String, pa.Check.in_range(1, 2))}),
        "src/ml/schema.py: column y: in_range.* cannot be checked",
    ),
    "a check that fails": (
        pa.DataFrameSchema({**NUMBERS, "y": pa.Column(pl.String, pa.Check(lambda _: 1 / 0))}),
        "cannot be checked: ZeroDivisionError",
    ),
}


@pytest.mark.attempts("contract")
@pytest.mark.parametrize("case", SCHEMAS)
def test_a_contract_that_cannot_be_kept_is_one_line(case: str) -> None:
    schema, message = SCHEMAS[case]
    table = pl.DataFrame({"x": [1.0], "y": ["a"]})

    result = attempt(case, lambda: validate(MONTH, {"t": table}, {"t": schema}))

    assert re.search(message, str(result)), result


def test_a_contract_that_is_not_strict_lets_other_columns_be() -> None:
    table = pl.DataFrame({"x": [1.0], "y": ["a"], "z": [1]})

    validate(MONTH, {"t": table}, {"t": pa.DataFrameSchema(NUMBERS)})
