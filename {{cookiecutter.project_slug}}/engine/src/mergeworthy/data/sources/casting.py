"""From the types that files and databases deliver to those of the contract, exactly or not at all."""

import re
from collections.abc import Mapping
from typing import Any

import polars as pl
from pandera.polars import DataFrameSchema

from ...errors import BrokenDataError
from ..contract import example
from .text import NULL_WORDS, TRUTH, Type, parse

DICTIONARY = (pl.Categorical, pl.Enum)  # text, each word stored once
YEARS = (1, 9999)  # what Python's own dates hold
GROUPED = re.compile(r"[+-]?\d{1,3}([.,'_ \u00a0\u202f]\d{3})+([.,]\d*)?")  # thousands apart


def conform(
    where: str,
    table: pl.DataFrame,
    schema: DataFrameSchema,
    *,
    text: bool = False,
    decimal: str = ".",
    formats: Mapping[str, str] | None = None,
    empty_is_null: bool = False,
) -> pl.DataFrame:
    """Return the table with each column in its type of the contract; what is of another kind is left to the contract.

    Values are kept: only floats may be rounded to their new width. `text` parses strings too, as CSV delivers nothing
    else, with the `decimal` sign and the `formats` (column → format) of dates and times, which else are ISO 8601;
    if `empty_is_null`, a text without a character, which CSV files hold in quotes, is null where text is not wanted.
    Raises `BrokenDataError` naming `where` (partition/table), column and value if a value has no exact counterpart.
    """
    columns = []
    for name in table.columns:
        if name not in schema.columns or schema.columns[name].dtype is None:
            continue
        values, target = table[name], schema.columns[name].dtype.type
        form = (formats or {}).get(name)
        if empty_is_null and values.dtype == pl.String and target not in (*DICTIONARY, pl.String):
            values = values.set((values == "").fill_null(value=False), None)
        cast = _cast(values, target)
        if cast is None and text and values.dtype == pl.String:
            cast = parse(values, target, decimal, form)
        if cast is None:
            continue
        lost = values.is_not_null() & (cast.is_null() | _differ(values, cast) | _beyond(cast))
        if lost.any():
            first = _first(values.filter(lost))
            raise BrokenDataError(
                f"{where}: column {name} must be {target}, but {lost.sum():,} of {len(values):,} do not fit"
                f"{example(schema, name, first)}{_advice(first, name, target, decimal, form) if text else ''}"
            )
        columns.append(cast.alias(name))
    return table.with_columns(columns)


def _cast(values: pl.Series, target: Type) -> pl.Series | None:
    """Return the values in the type `target`, null if one does not fit; None for a type of another kind."""
    source = values.dtype
    if source == target:
        return values
    if source == pl.Null or (source.is_numeric() and target.is_numeric()):
        return values.cast(target, strict=False)
    if source in (*DICTIONARY, pl.String) and target in (*DICTIONARY, pl.String):
        return values.cast(pl.String).cast(target, strict=False)
    if source.is_numeric() and target == pl.Boolean:
        return values.replace_strict({1: True, 0: False}, default=None, return_dtype=pl.Boolean)
    # A time with a zone is another moment than the naive one of the same name: the source must choose.
    zoned = _zone(source) is not None
    times = (pl.Datetime,) if zoned else (pl.Date, pl.Datetime)
    if source in times and target in times and zoned == (_zone(target) is not None):
        return values.cast(target, strict=False)
    return values.cast(target, strict=False) if source == pl.Duration and target == pl.Duration else None


def _zone(dtype: Type) -> str | None:
    return getattr(dtype, "time_zone", None)


def _differ(values: pl.Series, cast: pl.Series) -> pl.Series:
    """Return which values came out other than they went in; rounding a number to a float is none."""
    source, target, none = values.dtype, cast.dtype, pl.repeat(False, len(cast), eager=True)
    if target == pl.Boolean or source == target:
        return none
    if target.is_float() and not source.is_integer():
        finite = values.is_finite() if source.is_float() else ~none
        return (cast.is_infinite() & finite).fill_null(value=False)
    if source.is_numeric() or source.is_temporal():
        return cast.cast(source, strict=False).ne_missing(values) & cast.is_not_null()
    return none


def _beyond(times: pl.Series) -> pl.Series:
    """Return which dates lie in a year that Python cannot show."""
    if times.dtype not in (pl.Date, pl.Datetime):
        return pl.repeat(False, len(times), eager=True)
    return times.is_not_null() & ~times.dt.year().is_between(*YEARS).fill_null(value=False)


def _first(values: pl.Series) -> Any:
    """Return the first value, or a text about it if it is a date that Python cannot show."""
    values = values.head(1)
    if not _beyond(values).any():
        fine = values.dtype == pl.Datetime("ns") and _zone(values.dtype) is None  # Python's own shows no nanoseconds
        return values.cast(pl.String)[0] if fine else values[0]
    return f"a year before {YEARS[0]} or after {YEARS[1]} ({values.to_physical()[0]} as stored)"


def _advice(value: Any, name: str, target: Type, decimal: str, form: str | None) -> str:
    """Return how to mend a text that does not fit, if its look tells."""
    if not isinstance(value, str):
        return ""
    if value != value.strip():
        return ": it has a blank at its edge"
    if value == name:
        return ": it is the column's name, so the header stands there more than once"
    if value.casefold() in NULL_WORDS:
        return ": if it means null, name it in infra.yaml: source.csv.nulls"
    if target.is_temporal():
        if form:
            return f": infra.yaml names the format {form!r} for it in source.csv.formats"
        kind = "without a zone" if not _zone(target) else "with a zone"
        sample = f"{kind}, as {_sample(target)}"
        return f": times are ISO 8601 {sample}, or of the format that infra.yaml names in source.csv.formats"
    if target == pl.Boolean:
        return f": yes and no are written as one of {', '.join(TRUTH)}"
    return _number(value, target, decimal) if target.is_numeric() else ""


def _sample(target: Type) -> str:
    if target == pl.Datetime:
        return "2013-03-04 10:30Z" if _zone(target) else "2013-03-04 10:30"
    return "2013-03-04" if target == pl.Date else "10:30"


def _number(value: str, target: Type, decimal: str) -> str:
    if value.startswith("#"):
        return ": it is the error of a spreadsheet's formula"
    if "\u2212" in value:
        return ": its minus is U+2212, where a number has '-'"
    if decimal == "," and "." in value and "," not in value:
        return ": source.csv.decimal in infra.yaml is ',', and this has a point"
    if (target.is_integer() or target.is_float()) and GROUPED.fullmatch(value):
        comma = " (or, if that is a decimal comma, set source.csv.decimal to ',' in infra.yaml)"
        return f": export numbers without signs between the thousands{comma if value.count(',') == 1 else ''}"
    if value.count(",") == 1 and value.replace(",", "").lstrip("+-").isdigit():
        return ": if that is a decimal comma, set source.csv.decimal to ',' in infra.yaml"
    if target.is_integer():
        return ": a whole number of this type is written in digits alone, as 5 or -5"
    return f": a number is written as 5 or -2{decimal}5, without a unit"
