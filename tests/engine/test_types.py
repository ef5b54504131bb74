"""Every type of the contract against every delivered type: the same values, or one line."""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandera.polars as pa
import polars as pl
import pytest
from tests.attempts import attempt

from mergeworthy.data.contract import validate
from mergeworthy.data.types import conform

MOMENT = datetime(2013, 3, 4, 10, 30)
CONTRACT: dict[str, Any] = {
    **{str(kind): kind for kind in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)},
    **{str(kind): kind for kind in (pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Date, pl.Time, pl.Binary)},
    **{f"Datetime {unit}": pl.Datetime(unit) for unit in ("ms", "us", "ns")},
    "Datetime UTC": pl.Datetime("us", "UTC"),
    "Datetime New York": pl.Datetime("us", "America/New_York"),
    "Duration": pl.Duration("us"),
    "Categorical": pl.Categorical(),
    "Enum": pl.Enum(["EWR", "JFK"]),
    "Decimal": pl.Decimal(10, 2),
    "List": pl.List(pl.Int8),
}
VALUES: dict[str, list[Any]] = {
    "Boolean": [True, None],
    "String": ["EWR", None],
    "Categorical": ["EWR", None],
    "Enum": ["EWR", None],
    "Date": [MOMENT.date(), None],
    "Time": [MOMENT.time(), None],
    "Binary": [b"EWR", None],
    "Datetime UTC": [MOMENT.replace(tzinfo=UTC), None],
    "Datetime New York": [MOMENT.replace(tzinfo=ZoneInfo("America/New_York")), None],
    "Duration": [timedelta(minutes=5), None],
    "List": [[5], None],
    **{name: [MOMENT, None] for name in ("Datetime ms", "Datetime us", "Datetime ns")},
}
DELIVERED: dict[str, pl.Series] = {
    **{name: pl.Series(VALUES.get(name, [5, None]), dtype=dtype) for name, dtype in CONTRACT.items()},
    "Null": pl.Series([None, None]),
    "Struct": pl.Series([{"a": 1}, None]),
    "Array": pl.Series([[5], None], dtype=pl.Array(pl.Int8, 1)),
    "Int128": pl.Series([5, None], dtype=pl.Int128),
    "zero and one": pl.Series([0, 1]),
    "a large integer": pl.Series([2**53 + 1, None]),
    "a fraction": pl.Series([2.5, None]),
    "a fraction of a Decimal": pl.Series([Decimal("2.50"), None]),
    "midnights": pl.Series([MOMENT.replace(hour=0, minute=0), None]),
    "another word": pl.Series(["LGA", None]),
    "a far future": pl.Series([datetime(3000, 1, 1), None]),
    "a year that Python does not hold": pl.Series([2**62, None]).cast(pl.Datetime("us")),
}
TEXTS: dict[str, list[str | None]] = {  # as CSV holds them
    "text: an integer": ["5", None],
    "text: pandas' truth beside nulls": ["1.0", None],
    "text: pandas' integer beside nulls": ["5.0", None],
    "text: a fraction": ["2.5", None],
    "text: a large integer": [str(2**53 + 1), None],
    "text: a truth": ["True", None],
    "text: a date": ["2013-03-04", None],
    "text: an impossible date": ["2013-02-30", None],
    "text: a time": ["10:30", None],
    "text: a midnight": ["2013-03-04 00:00:00", None],
    "text: a moment": ["2013-03-04 10:30", None],
    "text: a moment in full": ["2013-03-04T10:30:00.000000", None],
    "text: a moment in UTC": ["2013-03-04T10:30:00Z", None],
    "text: a moment with an offset": ["2013-03-04T10:30:00-05:00", None],
    "text: a date of the United States": ["03/04/2013 10:30", None],
    "text: a word": ["EWR", None],
    "text: NA": ["NA", None],
    "text: not a number": ["NaN", None],
    "text: with a blank": [" 5", None],
}
# Which of them each type of the contract takes; everything else is refused.
INTEGERS = "Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Int128"
NUMBERS = {*INTEGERS.split(), "Float32", "Float64", "Decimal", "zero and one"}
WORDS = {"String", "Categorical", "Enum", "another word"}
WHOLE_TEXT = {"text: an integer", "text: pandas' integer beside nulls", "text: pandas' truth beside nulls"}
DAYS = {"Date", "midnights", "text: a date", "text: a midnight"}
MOMENTS = {*DAYS, "Datetime ms", "Datetime us", "Datetime ns", "text: a moment", "text: a moment in full"}
ZONED = {"Datetime UTC", "Datetime New York", "text: a moment in UTC", "text: a moment with an offset"}
LARGE = {"a large integer", "text: a large integer"}
FRACTIONS = {"a fraction", "a fraction of a Decimal", "text: a fraction"}
TAKES: dict[str, set[str]] = {
    **dict.fromkeys(("Int8", "Int16", "Int32", "UInt8", "UInt16", "UInt32"), NUMBERS | WHOLE_TEXT),
    **dict.fromkeys(("Int64", "UInt64"), NUMBERS | WHOLE_TEXT | LARGE),
    "Float32": NUMBERS | WHOLE_TEXT | FRACTIONS | {"text: a large integer"},
    "Float64": NUMBERS | WHOLE_TEXT | FRACTIONS | {"text: a large integer"},
    "Decimal": NUMBERS | WHOLE_TEXT | FRACTIONS,
    "Boolean": {"Boolean", "zero and one", "text: a truth", "text: pandas' truth beside nulls"},
    "String": WORDS | set(TEXTS),
    "Categorical": WORDS | set(TEXTS),
    "Enum": (WORDS - {"another word"}) | {"text: a word"},
    "Date": {*DAYS, "a far future"},
    "Time": {"Time", "text: a time"},
    "Datetime ms": {*MOMENTS, "a far future"},
    "Datetime us": {*MOMENTS, "a far future"},
    "Datetime ns": MOMENTS,
    "Datetime UTC": ZONED,
    "Datetime New York": ZONED,
    **{name: {name} for name in ("Duration", "Binary", "List")},
}


def read(text: str, like: Any) -> Any:
    """What a text says, by Python's own readers."""
    if isinstance(like, bool):
        return {"True": True, "1.0": True}[text]
    if isinstance(like, time):
        return time.fromisoformat(text)
    if isinstance(like, date):  # a datetime is one
        return datetime.fromisoformat(text)
    return Decimal(text) if isinstance(like, int | float | Decimal) else text


def same(given: Any, result: Any) -> bool:
    if given is None or result is None:
        return given is result
    if isinstance(given, str) and not isinstance(result, str):
        given = read(given, result)
    if isinstance(result, float):
        return math.isclose(float(given), result, rel_tol=1e-15)
    if isinstance(result, datetime) and not isinstance(given, datetime):
        given = datetime.combine(given, time())
    if isinstance(given, datetime) and not isinstance(result, datetime):
        result = datetime.combine(result, time())
    return bool(given == result)


def deliver(values: pl.Series, target: Any, *, text: bool) -> Callable[[], pl.Series]:
    schema = pa.DataFrameSchema({"x": pa.Column(target, nullable=True)}, strict=True)

    def delivered() -> pl.Series:
        table = conform("m/t", values.alias("x").to_frame(), schema, text=text)
        validate("m", {"t": table}, {"t": schema})
        return table["x"]

    return delivered


@pytest.mark.attempts("contract type by delivered type")
@pytest.mark.parametrize("target", CONTRACT)
def test_a_delivered_type_gives_its_values_or_one_line(target: str) -> None:
    given = {name: (values, False) for name, values in DELIVERED.items()}
    given |= {name: (pl.Series(values, dtype=pl.String), True) for name, values in TEXTS.items()}
    assert len(given) >= 27
    for name, (values, text) in given.items():
        result = attempt(f"{name} as {target}", deliver(values, CONTRACT[target], text=text))
        assert isinstance(result, str) == (name not in {"Null", *TAKES[target]}), (name, result)
        if isinstance(result, str):
            assert result.startswith("m/t: column x "), result
        else:
            assert result.dtype == CONTRACT[target]
            assert all(map(same, values.to_list(), result.to_list())), (name, values.to_list(), result.to_list())
    assert TAKES[target] <= given.keys()


def test_the_table_has_at_least_sixteen_types_of_the_contract() -> None:
    assert len(CONTRACT) >= 16
