"""The data contract enforced: pandera's checks, and the rules that the schema's metadata asks for.

Every violation is a `BrokenDataError` of one line that names partition, table, column, rule, rows and an example.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from pandera.errors import SchemaErrors
from pandera.polars import DataFrameSchema

from .errors import BrokenDataError, UserError
from .ml.schema import TABLES

RULES = {  # pandera's names of rules in a reader's words
    "column_in_dataframe": "is missing",
    "column_in_schema": "is not in the contract",
    "not_nullable": "must not be null",
    "multiple_fields_uniqueness": "must be unique",
}


def validate(
    partition: str, tables: Mapping[str, pl.DataFrame], schemas: Mapping[str, DataFrameSchema] = TABLES
) -> None:
    """Raise `BrokenDataError` for the first violation found in `tables` (name → rows of one partition)."""
    if odd := sorted(schemas.keys() ^ tables.keys()):
        told = "is missing" if odd[0] in schemas else "is not in the contract"
        raise BrokenDataError(f"{partition}/{odd[0]}: the table {told}")
    for name, schema in schemas.items():
        for violation in _violations(partition, tables[name], schema):
            raise BrokenDataError(f"{partition}/{name}: {violation}")


def period(partition: str) -> tuple[datetime, datetime] | None:
    """Start and end (exclusive) of a partition called after a year, month or day, e.g. 2013-06; else None."""
    if not re.fullmatch(r"\d{4}(-\d\d){0,2}", partition):
        return None
    year, month, day = ([int(part) for part in partition.split("-")] + [0, 0])[:3]
    try:
        start = datetime(year, month or 1, day or 1)
    except ValueError:
        return None
    if day:
        return start, start + timedelta(days=1)
    return start, start.replace(year=year + (month in (0, 12)), month=month % 12 + 1 if month else 1)


def _violations(partition: str, table: pl.DataFrame, schema: DataFrameSchema) -> Iterator[str]:
    if table.is_empty():
        yield "the table has no rows"
    yield from _pandera(table, schema)
    for name, column in schema.columns.items():
        yield from _column(str(name), table[str(name)], column.metadata or {})
    if time := (schema.metadata or {}).get("time"):
        yield from _time(partition, time, table[time], schema.metadata or {})


def _pandera(table: pl.DataFrame, schema: DataFrameSchema) -> Iterator[str]:
    try:
        schema.validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        # Of a column with the wrong type the other checks fail for no reason of their own.
        first = cases.sort(~pl.col("check").str.starts_with("dtype"), maintain_order=True).row(0, named=True)
        column, rule, example = first["column"], first["check"], first["failure_case"]
        rows = cases.filter(pl.col("check") == rule, pl.col("column").eq_missing(column)).height
        if rule in ("column_in_dataframe", "column_in_schema"):
            yield f"column {example} {RULES[rule]}"
        elif rule.startswith("dtype"):
            yield f"column {column} has type {example}, expected {rule[7:-2]}"
        elif rule == "multiple_fields_uniqueness":
            yield f"key {', '.join(schema.unique or [])} {RULES[rule]}, but {rows:,} rows share theirs, e.g. {example}"
        else:
            told = RULES.get(rule, f"must satisfy {rule}")
            yield f"column {column} {told}, but {rows:,} of {table.height:,} rows do not, e.g. {example}"


def _column(name: str, values: pl.Series, rules: dict[str, Any]) -> Iterator[str]:
    share, limit = values.null_count() / len(values), rules.get("max_null", 1.0)
    if share > limit:
        rows = f"{values.null_count():,} of {len(values):,} rows"
        yield f"column {name} is null in {share:.1%} ({rows}), max_null is {limit:.1%}"
    if "median" in rules and isinstance(median := values.median(), int | float):
        low, high = rules["median"]
        if not low <= median <= high:
            yield f"column {name} has median {median:g}, expected {low:g} to {high:g}: has its unit changed?"


def _time(partition: str, name: str, times: pl.Series, rules: dict[str, Any]) -> Iterator[str]:
    span = period(partition)
    if span is None:
        raise UserError(f"{partition}: the contract has a time column, so name partitions 2013, 2013-06 or 2013-06-30")
    start, end = span
    outside = times.filter((times < start) | (times >= end))
    if len(outside):
        yield (
            f"column {name} must lie in the partition {partition}, but {len(outside):,} of {len(times):,} rows "
            f"do not, e.g. {outside[0]}"
        )
    if limit := rules.get("max_gap_hours"):
        moments = pl.concat([pl.Series([start, end], dtype=times.dtype), times]).sort()
        gap = moments.diff().fill_null(timedelta(0))
        longest = int(gap.arg_max() or 0)
        if gap[longest] > timedelta(hours=limit):
            told = f"no rows between {moments[longest - 1]} and {moments[longest]}"
            yield f"column {name} has {told}, max_gap_hours is {limit}: the delivery is incomplete"
