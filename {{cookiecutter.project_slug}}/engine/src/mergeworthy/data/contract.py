"""The data contract enforced: pandera's checks, and the rules that the schema's metadata asks for.

Every violation is a `BrokenDataError` of one line that names partition, table, column, rule, rows and an example.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, cast

import polars as pl
from pandera.errors import SchemaErrors
from pandera.polars import Column, DataFrameSchema

from ..errors import BrokenDataError, UserError
from ..project import registered

RULES = {  # pandera's names of rules in a reader's words
    "not_nullable": "must not be null",
    "multiple_fields_uniqueness": "must be unique",
    "field_uniqueness": "must be unique",
}
# How an index of pandas, or R's column of row names, is called.
INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__|index|level_\d+|column_\d+|X|\.\.\.1|row\.?names?|_row")
CRASH = re.compile(r"\w*(Error|Exception)\(")
LONGEST = 80  # characters of a value that are shown


def validate(
    partition: str, tables: Mapping[str, pl.DataFrame], schemas: Mapping[str, DataFrameSchema] | None = None
) -> None:
    """Raise `BrokenDataError` for the first violation found in `tables` (name → rows of one partition)."""
    schemas = registered().schemas if schemas is None else schemas
    if odd := sorted(schemas.keys() ^ tables.keys()):
        told = "is missing" if odd[0] in schemas else "is not in the contract"
        raise BrokenDataError(f"{partition}/{odd[0]}: the table {told}")
    for name, schema in schemas.items():
        check_schema(name, schema)
        for violation in _violations(partition, tables[name], schema):
            raise BrokenDataError(f"{partition}/{name}: {violation}")


def period(partition: str) -> tuple[datetime, datetime] | None:
    """Start and end (exclusive) of a partition called after a year, month or day, e.g. 2013-06; else None."""
    if not re.fullmatch(r"\d{4}(-\d\d){0,2}", partition):
        return None
    year, month, day = ([int(part) for part in partition.split("-")] + [0, 0])[:3]
    try:
        start = datetime(year, month or 1, day or 1)
        if day:
            return start, start + timedelta(days=1)
        return start, start.replace(year=year + (month in (0, 12)), month=month % 12 + 1 if month else 1)
    except (ValueError, OverflowError):
        return None


def example(schema: DataFrameSchema, column: str, value: object, *, text: bool = True) -> str:
    """Return the words that show a value, a text with its blanks; values of a private column are never shown."""
    if private(schema, [column]):
        return " (the column is private, so none is shown)"
    shown = repr(value) if text and isinstance(value, str) else str(value)
    return f", e.g. {shown if len(shown) <= LONGEST else shown[:LONGEST] + '…'}"


def private(schema: DataFrameSchema, columns: Iterable[str]) -> bool:
    """Return whether any of the columns is marked as private."""
    return any((schema.columns[name].metadata or {}).get("private") for name in columns if name in schema.columns)


def _violations(partition: str, table: pl.DataFrame, schema: DataFrameSchema) -> Iterator[str]:
    if different := _columns(table.columns, schema):
        yield different
    if table.is_empty():
        yield "the table has no rows"
    for name, column in schema.columns.items():
        yield from _type(name, table[name], column)
    yield from _pandera(table, schema)
    for name, column in schema.columns.items():
        yield from _column(name, table[name], column.metadata or {})
    if time := (schema.metadata or {}).get("time"):
        yield from _time(partition, time, table[time], schema)


def check_schema(name: str, schema: DataFrameSchema) -> None:
    """Raise `UserError` if the contract asks for what is not checked, or names a column that it does not have."""
    told, about = f"ml/schema.py: table {name}: ", schema.metadata or {}
    _check_rules(told, about, TABLE_RULES)
    for column in schema.columns.values():
        _check_rules(f"{told}column {column.name}: ", column.metadata or {}, COLUMN_RULES)
        if column.regex or not column.required or column.dtype is None:
            raise UserError(f"{told}column {column.name} needs a name of its own, a type, and required=True")
    named = [*(schema.unique or []), *([about["time"]] if about.get("time") else [])]
    if len(set(schema.unique or [])) < len(schema.unique or []):
        raise UserError(f"{told}`unique` names a column twice")
    if about.get("max_gap_hours") is not None and not about.get("time"):
        raise UserError(f"{told}`max_gap_hours` needs `time`, the column whose gaps are meant")
    if missing := [column for column in named if column not in schema.columns]:
        raise UserError(f"{told}`unique` or `time` names {missing[0]!r}, which is no column of it")
    if (time := about.get("time")) and schema.columns[time].dtype.type not in (pl.Date, pl.Datetime):
        kind = schema.columns[time].dtype.type
        raise UserError(f"{told}`time` names {time}, whose type is {kind}: it must be Date or Datetime")


def _check_rules(told: str, rules: object, known: Mapping[str, tuple[Callable[[Any], bool], str]]) -> None:
    """Raise `UserError` if metadata gives a rule a value that it cannot have, or has a rule by a misspelled name."""
    if not isinstance(rules, dict):
        raise UserError(f"{told}metadata must be a dictionary, not {rules!r}")
    for rule, value in rules.items():
        if rule in known:
            fits, expected = known[rule]
            if not fits(value):
                raise UserError(f"{told}metadata {rule} must be {expected}, not {value!r}")
        elif near := get_close_matches(str(rule), known, n=1, cutoff=0.75):
            raise UserError(f"{told}metadata {rule!r} is no rule: is {near[0]} meant?")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_range(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)) and value[0] <= value[1]


# Rule of the metadata → whether a value fits it, and what does.
TABLE_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "time": (lambda value: isinstance(value, str) and value != "", "the name of a column"),
    "time_zone": (lambda value: isinstance(value, str), "a name such as Europe/Rome"),
    "max_gap_hours": (lambda value: _is_number(value) and value > 0, "a number of hours above 0"),
}
COLUMN_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "max_null": (lambda value: _is_number(value) and 0 <= value <= 1, "a share from 0 to 1"),
    "median": (_is_range, "its least and its greatest value, as (28, 95)"),
    "private": (lambda value: isinstance(value, bool), "True or False"),
    "known": (lambda value: isinstance(value, str), "a word"),
}


def _columns(names: list[str], schema: DataFrameSchema) -> str | None:
    """Return in which column a table differs from the contract, and the likely reason."""
    missing = [name for name in schema.columns if name not in names]
    extra = [name for name in names if name not in schema.columns] if missing or schema.strict is True else []
    for wanted in missing:
        if near := [name for name in extra if _plain(name) == _plain(wanted)]:
            return f"column {wanted} is missing, but there is {near[0]!r}: blanks and capitals count, rename it"
        if near := [name for name in extra if _looks_like(name, wanted)]:
            return f"column {wanted} is missing, but there is {near[0]!a}, which only looks like it: rename it"
    if len(missing) == len(schema.columns) and private(schema, missing):
        # Without a header the first row would be taken for the names, and so be shown.
        return f"column {missing[0]} is missing, as is every other: does the table have the names of its columns?"
    if missing:
        others = f"; what the contract does not know: {_listed(extra)}" if extra else ""
        return f"column {missing[0]} is missing{others}"
    for name in extra:
        if INDEX.fullmatch(name):
            hint = "it looks like the index of pandas, which `index=False` leaves out, or like a separator too many"
            return f"column {name!r} is not in the contract: {hint}"
    return f"column {extra[0]!r} is not in the contract" if extra else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.]+", "", name).casefold()


def _looks_like(name: str, wanted: str) -> bool:
    """Return whether letters of another alphabet, accents set apart or signs that are not seen make the difference."""
    seen = [
        "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
        for text in (name, wanted)
    ]
    if seen[0] == seen[1]:
        return True
    same = [one == other for one, other in zip(*seen, strict=False)]
    foreign = [ord(one) > 0x24F for one, other in zip(*seen, strict=False) if one != other]  # beyond Latin letters
    return len(seen[0]) == len(seen[1]) and all(foreign) and sum(same) * 2 >= len(same)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(name[:80]) for name in names[:5]) + more


def _type(name: str, values: pl.Series, column: Column) -> Iterator[str]:
    source, target = values.dtype, column.dtype.type
    if source != target:
        yield f"column {name} has type {source}, expected {target}{_between(source, target)}"
    for numbers in _floats(values):
        odd = (numbers.is_nan() | numbers.is_infinite()).sum()
        if odd:
            rows = "rows" if source.is_float() else "values"
            yield (
                f"column {name} holds NaN or infinity in {odd:,} of {len(numbers):,} {rows}: a number must be finite, "
                "and null where it is unknown"
            )


def _floats(values: pl.Series) -> Iterator[pl.Series]:
    """Yield the floats of a column, of its lists and of its structures."""
    if values.dtype.is_float():
        yield values
    elif values.dtype in (pl.List, pl.Array):
        yield from _floats(values.explode())
    elif values.dtype == pl.Struct:
        for field in values.struct.unnest():
            yield from _floats(field)


def _between(source: pl.DataType, target: pl.DataType) -> str:
    ours, theirs = getattr(target, "time_zone", None), getattr(source, "time_zone", None)
    if target == pl.Datetime and source == pl.Datetime and (ours is None) != (theirs is None):
        kind = f"has the zone {ours}" if ours else "has no zone"
        return f": the contract's {kind}, and which moment is meant is for the source to say"
    return ""


def _pandera(table: pl.DataFrame, schema: DataFrameSchema) -> Iterator[str]:
    try:
        schema.validate(table, lazy=True)
    except SchemaErrors as error:
        yield _failed(error.failure_cases, table, schema)
    except Exception as error:  # noqa: BLE001, a check is the project's own code, and its error may hold values
        raise UserError(f"ml/schema.py: a check cannot be made: {type(error).__name__}") from None


def _failed(cases: pl.DataFrame, table: pl.DataFrame, schema: DataFrameSchema) -> str:
    first = cases.row(0, named=True)
    column, rule, value = first["column"], first["check"], first["failure_case"]
    rows = cases.filter(pl.col("check") == rule, pl.col("column").eq_missing(column)).height
    if rule == "multiple_fields_uniqueness":
        key = [str(name) for name in schema.unique or []]
        # Only the key's own columns: pandera's example is the whole row.
        twice = table.filter(table.select(key).is_duplicated()).select(key)
        shown = "" if private(schema, key) or twice.is_empty() else f", e.g. {_row(twice)}"
        return f"key {', '.join(key)} {RULES[rule]}, but {rows:,} rows share theirs{shown}"
    if first["index"] is None and CRASH.match(str(value)):
        where = f"column {column}" if column in table.columns else "a check of the table"
        raise UserError(f"ml/schema.py: {where}: {rule} cannot be checked: {str(value).split('(')[0]}")
    if column not in table.columns:
        return f"the table must satisfy {rule}"
    text = table.schema[column] in (pl.String, pl.Categorical, pl.Enum)
    shown = "" if rule == "not_nullable" else example(schema, column, value, text=text)
    told = RULES.get(rule, f"must satisfy {rule}")
    return f"column {column} {told}, but {rows:,} of {table.height:,} rows do not{shown}"


def _row(table: pl.DataFrame) -> str:
    shown = ", ".join(repr(value) if isinstance(value, str) else str(value) for value in table.row(0))
    return shown if len(shown) <= LONGEST else shown[:LONGEST] + "…"


def _column(name: str, values: pl.Series, rules: dict[str, Any]) -> Iterator[str]:
    share, limit = values.null_count() / len(values), rules.get("max_null", 1.0)
    if share > limit:
        rows = f"{values.null_count():,} of {len(values):,} rows"
        yield f"column {name} is null in {share:.1%} ({rows}), max_null is {limit:.1%}"
    if "median" in rules and values.dtype.is_numeric() and values.null_count() < len(values):
        (low, high), median = rules["median"], float(cast("float", values.cast(pl.Float64).median()))
        if not low <= median <= high:
            shown = "another median than" if rules.get("private") else f"median {median:g},"
            yield f"column {name} has {shown} expected {low:g} to {high:g}: has its unit changed?"


def _time(partition: str, name: str, times: pl.Series, schema: DataFrameSchema) -> Iterator[str]:
    span, rules = period(partition), schema.metadata or {}
    if span is None:
        raise UserError(f"{partition}: the contract has a time column, so name partitions 2013, 2013-06 or 2013-06-30")
    ends = pl.Series(span, dtype=pl.Datetime("us"))
    if zone := getattr(times.dtype, "time_zone", None):
        ends = ends.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    ends = ends.cast(times.dtype)
    start, end = ends
    outside = times.filter((times < start) | (times >= end))
    if len(outside):
        yield (
            f"column {name} must lie in the partition {partition}, but {len(outside):,} of {len(times):,} rows "
            f"do not{example(schema, name, outside[0])}"
        )
    if limit := rules.get("max_gap_hours"):
        moments = pl.concat([ends, times]).drop_nulls().sort()
        gap = moments.diff().fill_null(timedelta(0))
        longest = int(gap.arg_max() or 0)
        if gap[longest] > timedelta(hours=limit):
            between = "" if private(schema, [name]) else f" between {moments[longest - 1]} and {moments[longest]}"
            told = f"no rows{between}"
            yield f"column {name} has {told}, max_gap_hours is {limit}: the delivery is incomplete"


def requested(schema: DataFrameSchema) -> dict[str, Column]:
    """The columns that a row of a request has."""
    return {str(n): c for n, c in schema.columns.items() if (c.metadata or {}).get("known") != "after"}


def private_columns(schema: DataFrameSchema) -> frozenset[str]:
    """The columns that are never logged."""
    return frozenset(str(n) for n, c in schema.columns.items() if (c.metadata or {}).get("private"))
