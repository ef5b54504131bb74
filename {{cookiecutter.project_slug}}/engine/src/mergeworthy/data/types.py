"""Conversion of a source's values to the contract's types: exactly, or not at all.

A text becomes a number if it is a plain number, and a time if it is ISO 8601 or of a format that infra.yaml names.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl
from pandera.polars import DataFrameSchema
from polars.datatypes import DataTypeClass

from ..errors import BrokenDataError, UserError
from .contract import example

Type = pl.DataType | DataTypeClass

DICTIONARY = (pl.Categorical, pl.Enum)  # types of text that store each word once
PYTHON_YEARS = (1, 9999)  # the range of Python's dates
GROUPED_DIGITS = re.compile(r"[+-]?\d{1,3}([.,'_ \u00a0\u202f]\d{3})+([.,]\d*)?")  # digits in groups of three
NULL_WORDS = {"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", ".", "\\n", "missing", "unknown",
    "\u2013", "\u2014", "n.a.", "n/d", "<na>", "nat", "(null)", "<null>", "#null!", "[null]", "undefined"}  # fmt: skip
TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
FLOAT_TRUTH = {"1.0": True, "0.0": False}  # as pandas writes a boolean column that has nulls
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# pandas writes integers of a column that has nulls as 125.0; three zeros are refused, as 1.000 may be a thousand.
WHOLE_NUMBER = r"^[+-]?\d+(\.(0{0,2}|0{4,}))?$"
DATE = r"(\d{4}-\d\d-\d\d)"
DIGITS = {"ms": 3, "us": 6, "ns": 9}  # time unit → digits of a fraction of a second
# The codes of a format that hold a time of day.
TIME_CODES = ("%H", "%I", "%k", "%l", "%T", "%R", "%r", "%X", "%c", "%s", "%+")
FRACTION_CODE, SECOND_CODE = re.compile(r"%[.\d]*f"), re.compile(r"%[STXcr]")
PROBE = datetime(2013, 3, 14, 22, 35)
NANOSECOND_YEARS = (1678, 2261)  # the whole years that 64 bits of nanoseconds can represent


NAME_THE_FORMAT = "name their format in infra.yaml: source.csv.formats"
CONVERT_IN_QUERY = "convert them in the query"


def conform(
    where: str,
    table: pl.DataFrame,
    schema: DataFrameSchema,
    *,
    text: bool = False,
    decimal: str = ".",
    formats: Mapping[str, str] | None = None,
    empty_is_null: bool = False,
    text_times: bool = False,
) -> pl.DataFrame:
    """Return the table with each column in its type of the contract.

    Values are kept: only floats may be rounded to their new width. A column whose type cannot be converted is returned
    as it is; `validate` then refuses it. If `text`, strings are parsed too, as CSV holds nothing else: numbers with the
    `decimal` sign, dates and times by `formats` (column → format), or else as ISO 8601. If `empty_is_null`, an empty
    string, which a CSV file holds in quotes, is null unless the contract expects text. If `text_times`, dates and times
    alone are parsed, as ISO 8601: SQLite has no type for them.
    Raises `BrokenDataError` naming `where` (partition/table), column and value if a value has no exact counterpart.
    """
    columns = []
    for name in table.columns:
        if name not in schema.columns or schema.columns[name].dtype is None:
            continue
        values, target = table[name], schema.columns[name].dtype.type
        time_format = (formats or {}).get(name)
        if empty_is_null and values.dtype == pl.String and target not in (*DICTIONARY, pl.String):
            values = values.set((values == "").fill_null(value=False), None)
        cast = _cast(values, target)
        parses = text or (text_times and target.is_temporal())
        if cast is None and parses and values.dtype == pl.String:
            cast = _parsed(values, target, decimal, time_format)
        if cast is None:
            continue
        lost = values.is_not_null() & (cast.is_null() | _changed(values, cast) | _beyond_python(cast))
        if lost.any():
            first = _first(values.filter(lost))
            remedy = CONVERT_IN_QUERY if text_times else NAME_THE_FORMAT
            hint = _text_hint(first, name, target, decimal, time_format, remedy) if parses else ""
            raise BrokenDataError(
                f"{where}: column {name} must be {target}, but {lost.sum():,} of {len(values):,} do not fit"
                f"{example(schema, name, first)}{hint}"
            )
        columns.append(cast.alias(name))
    return table.with_columns(columns)


def _cast(values: pl.Series, target: Type) -> pl.Series | None:
    """Return the values as `target`, null if one does not fit; None if the type cannot be converted."""
    source = values.dtype
    if source == target:
        return values
    if source == pl.Null or (source.is_numeric() and target.is_numeric()):
        return values.cast(target, strict=False)
    if source in (*DICTIONARY, pl.String) and target in (*DICTIONARY, pl.String):
        return values.cast(pl.String).cast(target, strict=False)
    if source.is_numeric() and target == pl.Boolean:
        return values.replace_strict({1: True, 0: False}, default=None, return_dtype=pl.Boolean)
    # A time with a zone is not the same moment as a naive time, so neither is converted to the other.
    zoned = _zone(source) is not None
    times = (pl.Datetime,) if zoned else (pl.Date, pl.Datetime)
    if source in times and target in times and zoned == (_zone(target) is not None):
        return values.cast(target, strict=False)
    return values.cast(target, strict=False) if source == pl.Duration and target == pl.Duration else None


def _zone(dtype: Type) -> str | None:
    return getattr(dtype, "time_zone", None)


def _changed(values: pl.Series, cast: pl.Series) -> pl.Series:
    """Return which values were changed by the conversion; rounding a number to a float is no change."""
    source, target, nowhere = values.dtype, cast.dtype, pl.repeat(False, len(cast), eager=True)
    if target == pl.Boolean or source == target:
        return nowhere
    if target.is_float() and not source.is_integer():
        finite = values.is_finite() if source.is_float() else ~nowhere
        return (cast.is_infinite() & finite).fill_null(value=False)
    if source.is_numeric() or source.is_temporal():
        return cast.cast(source, strict=False).ne_missing(values) & cast.is_not_null()
    return nowhere


def _beyond_python(times: pl.Series) -> pl.Series:
    """Return which dates lie in a year that Python cannot represent."""
    if times.dtype not in (pl.Date, pl.Datetime):
        return pl.repeat(False, len(times), eager=True)
    return times.is_not_null() & ~times.dt.year().is_between(*PYTHON_YEARS).fill_null(value=False)


def _first(values: pl.Series) -> Any:
    """Return the first value, or a text about it if it is a date that Python cannot represent."""
    values = values.head(1)
    if not _beyond_python(values).any():
        # Python's datetime has no nanoseconds.
        as_text = values.dtype == pl.Datetime("ns") and _zone(values.dtype) is None
        return values.cast(pl.String)[0] if as_text else values[0]
    return f"a year before {PYTHON_YEARS[0]} or after {PYTHON_YEARS[1]} ({values.to_physical()[0]} as stored)"


def _text_hint(value: Any, name: str, target: Type, decimal: str, time_format: str | None, remedy: str) -> str:
    """Return the likely reason why a text does not fit, and how to fix it; empty if there is none."""
    if not isinstance(value, str):
        return ""
    if value != value.strip():
        return ": it begins or ends with a blank"
    if value == name:
        return ": it is the column's name, so the file has its header more than once"
    if value.casefold() in NULL_WORDS:
        means = (
            "return null for it in the query"
            if remedy == CONVERT_IN_QUERY
            else "name it in infra.yaml: source.csv.nulls"
        )
        return f": if it means null, {means}"
    if target.is_temporal():
        if time_format:
            return f": infra.yaml names the format {time_format!r} for it in source.csv.formats"
        kind = "without a zone" if not _zone(target) else "with a zone"
        sample = f"{kind}, as {_sample(target)}"
        return f": write times as ISO 8601 {sample}, or {remedy}"
    if target == pl.Boolean:
        return f": write true and false as one of {', '.join(TRUTH)}"
    return _number_hint(value, target, decimal) if target.is_numeric() else ""


def _sample(target: Type) -> str:
    if target == pl.Datetime:
        return "2013-03-04 10:30Z" if _zone(target) else "2013-03-04 10:30"
    return "2013-03-04" if target == pl.Date else "10:30"


def _number_hint(value: str, target: Type, decimal: str) -> str:
    if value.startswith("#"):
        return ": it is the error of a formula in a spreadsheet"
    if "\u2212" in value:
        return ": its minus sign is U+2212, write '-'"
    if decimal == "," and "." in value and "," not in value:
        return ": source.csv.decimal in infra.yaml is ',', but this has a point"
    if (target.is_integer() or target.is_float()) and GROUPED_DIGITS.fullmatch(value):
        comma = " (or, if that is a decimal comma, set source.csv.decimal to ',' in infra.yaml)"
        return f": export numbers without signs between the thousands{comma if value.count(',') == 1 else ''}"
    if value.count(",") == 1 and value.replace(",", "").lstrip("+-").isdigit():
        return ": if that is a decimal comma, set source.csv.decimal to ',' in infra.yaml"
    if target.is_integer():
        return ": write a whole number of this type in digits alone, as 5 or -5"
    return f": write a number as 5 or -2{decimal}5, without a unit"


def _parsed(values: pl.Series, target: Type, decimal: str, time_format: str | None) -> pl.Series | None:
    """Return the texts as `target`, null if one does not fit exactly; None if a text cannot represent the type.

    Raises `UserError` if `time_format` is no format of that type.
    """
    if target == pl.Boolean:
        return values.str.to_lowercase().replace_strict(TRUTH | FLOAT_TRUTH, default=None, return_dtype=pl.Boolean)
    if target.is_numeric():
        return _parsed_number(values, target, decimal)
    if target not in (pl.Date, pl.Datetime, pl.Time):
        return None
    return _parsed_iso(values, target) if time_format is None else _parsed_by_format(values, target, time_format)


def _parsed_number(values: pl.Series, target: Type, decimal: str) -> pl.Series:
    if decimal == ",":
        values = _matching(values, r"^[^.]*$").str.replace(",", ".", literal=True)
    if target.is_integer():
        return _matching(values, WHOLE_NUMBER).str.replace(r"\.0*$", "").cast(target, strict=False)
    if isinstance(target, pl.Decimal):
        return _matching(values, rf"^[+-]?\d+(\.\d{{0,{target.scale}}}0*)?$").cast(target, strict=False)
    return _matching(values, NUMBER).cast(target, strict=False)


def _parsed_iso(values: pl.Series, target: Type) -> pl.Series:
    """Return dates and times parsed from ISO 8601: `2013-03-04`, `10:00[:00[.0]]`, or both with a blank or T between.

    A zone is required if the type has one, and refused if not.
    """
    zone = getattr(target, "time_zone", None)
    digits = DIGITS[getattr(target, "time_unit", "ns")]
    # Second 60 is refused: polars would make it the next minute.
    clock = rf"(\d\d:\d\d)(:[0-5]\d)?(?:(\.\d{{1,{digits}}})0*)?"
    if target == pl.Date:
        midnight = r"(?:[T ]00:00(?::00(?:\.0+)?)?)?"  # as databases and pandas write a date
        return _matching(values, f"^{DATE}{midnight}$").str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    if target == pl.Time:
        return _completed(values, f"^(){clock}()$").str.strip_chars().str.to_time("%H:%M:%S%.f", strict=False)
    pattern = rf"^{DATE}[T ]{clock}(Z|[+-]\d\d:?\d\d|[+-]\d\d)$" if zone else rf"^{DATE}(?:[T ]{clock})?()$"
    time_format = "%Y-%m-%d %H:%M:%S%.f%z" if zone else "%Y-%m-%d %H:%M:%S%.f"
    return _moments(_completed(values, pattern), time_format, target)


def _completed(values: pl.Series, pattern: str) -> pl.Series:
    """Return the times in the one format that `_parsed_iso` parses; null for those that do not match."""
    day, clock, second, fraction, zone = values.str.extract_groups(pattern).struct.unnest().get_columns()
    zone = zone.replace("Z", "+00:00").str.replace(r"^([+-]\d\d)$", "${1}:00")
    pieces = pl.DataFrame(
        {
            "day": day,
            "clock": clock.fill_null("00:00"),
            "second": second.fill_null(":00"),
            "fraction": fraction.fill_null(".0"),
            "zone": zone,
        }
    )
    return pieces.select(pl.format("{} {}{}{}{}", *pieces.columns)).to_series()


def _parsed_by_format(values: pl.Series, target: Type, time_format: str) -> pl.Series:
    """Return times parsed by a format; raise `UserError` if a time that it formats is not the same when parsed."""
    zone = getattr(target, "time_zone", None)
    where = f"infra.yaml: source.csv.formats: {time_format!r} of {values.name}"
    if "%f" in time_format:  # polars reads it as nanoseconds
        raise UserError(f"{where}: write %.f for the point and fraction of a second, or %3f, %6f or %9f for its digits")
    if zone is None and "%s" in time_format:
        raise UserError(f"{where}: %s counts seconds in UTC, but the column has no zone")
    if (zone is not None) != ("%z" in time_format) and "%s" not in time_format:
        problem = "must hold %z, as the column has a zone" if zone else "holds %z, but the column has no zone"
        raise UserError(f"{where} {problem}")
    moment = PROBE if any(code in time_format for code in TIME_CODES) else PROBE.replace(hour=0, minute=0)
    probe = pl.Series([moment], dtype=pl.Datetime("us"))
    probe = (
        probe.dt.time()
        if target == pl.Time
        else probe.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        if zone
        else probe.cast(target)
    )
    try:
        if _by_format(probe.dt.to_string(time_format), target, time_format).equals(probe):
            return _by_format(values, target, time_format)
    except (pl.exceptions.PolarsError, ValueError):
        pass
    raise UserError(f"{where} is no format of a {target}, such as '%d.%m.%Y %H:%M'")


def _by_format(values: pl.Series, target: Type, time_format: str) -> pl.Series:
    if target == pl.Time:
        return values.str.to_time(time_format, strict=False)
    if target == pl.Date or not any(code in time_format for code in TIME_CODES):
        return _four_digits(values.str.to_date(time_format, strict=False), time_format).cast(target)
    return _four_digits(_moments(values, time_format, target), time_format)


def _four_digits(parsed: pl.Series, time_format: str) -> pl.Series:
    """Return the dates with null for years that %Y read from two digits: 13 would be the year 13."""
    if not re.search("%[-_0]?[YFcv+]", time_format):
        return parsed
    return parsed.set((parsed.dt.year() < 1000).fill_null(value=False), None)


def _moments(values: pl.Series, time_format: str, target: Type) -> pl.Series:
    unit: Any = getattr(target, "time_unit", "us")
    zone = getattr(target, "time_zone", None)
    parsed = values.str.to_datetime(time_format, time_unit=unit, strict=False)
    # A date beyond the range of 64-bit nanoseconds would overflow to another year.
    years = values.str.to_datetime(time_format, time_unit="us", strict=False).dt.year()
    representable = years.is_between(*NANOSECOND_YEARS)
    if unit == "ns":
        parsed = parsed.set(~representable, None)
    elif FRACTION_CODE.search(time_format):  # digits that the unit cannot hold
        nanoseconds = values.str.to_datetime(time_format, time_unit="ns", strict=False).dt.nanosecond()
        lost = nanoseconds % 10 ** (9 - DIGITS[unit])
        parsed = parsed.set((representable & (lost != 0)).fill_null(value=False), None)
    if SECOND_CODE.search(time_format):  # polars parses second 60 as the next minute
        sixty = values.str.count_matches("60") > parsed.dt.to_string(time_format).str.count_matches("60")
        parsed = parsed.set(((parsed.dt.second() == 0) & sixty).fill_null(value=False), None)
    if zone and parsed.dtype.time_zone is None:  # type: ignore[attr-defined]
        parsed = parsed.dt.replace_time_zone("UTC")
    return parsed.dt.convert_time_zone(zone) if zone else parsed


def _matching(values: pl.Series, pattern: str) -> pl.Series:
    """Return the values that match, and null for the others."""
    return values.to_frame().select(pl.when(pl.first().str.contains(pattern)).then(pl.first())).to_series()
