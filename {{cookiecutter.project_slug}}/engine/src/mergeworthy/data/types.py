"""A source's values in the contract's types: exactly, or not at all."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl
from pandera.polars import DataFrameSchema
from polars.datatypes import DataTypeClass

from ..errors import BrokenDataError, UserError
from .contract import example

# DOC data.sources.text: What text means in the types of the contract: plain numbers, ISO 8601, or a format that was
# named.

NULL_WORDS = {"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", ".", "\\n", "missing", "unknown",
    "\u2013", "\u2014", "n.a.", "n/d", "<na>", "nat", "(null)", "<null>", "#null!", "[null]", "undefined"}  # fmt: skip
TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
FLOAT_TRUTH = {"1.0": True, "0.0": False}  # as pandas writes 1 and 0 beside nulls
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# pandas writes integers beside nulls as 125.0; but 1.000 may be a thousand.
WHOLE = r"^[+-]?\d+(\.(0{0,2}|0{4,}))?$"
DAY = r"(\d{4}-\d\d-\d\d)"
DIGITS = {"ms": 3, "us": 6, "ns": 9}  # of a second
CLOCK = ("%H", "%I", "%k", "%l", "%T", "%R", "%r", "%X", "%c", "%s", "%+")  # what of a format is time of day
FRACTION, SECOND = re.compile(r"%[.\d]*f"), re.compile(r"%[STXcr]")
PROBE = datetime(2013, 3, 14, 22, 35)
NANOSECONDS = (1678, 2261)  # whole years that 64 bits of them hold

Type = pl.DataType | DataTypeClass


def parse(values: pl.Series, target: Type, decimal: str, form: str | None) -> pl.Series | None:
    """Return the texts as `target`, null if one is none exactly; None if text cannot hold the type.

    `form` is the format of dates and times. Raises `UserError` if it does not give the type.
    """
    if target == pl.Boolean:
        return values.str.to_lowercase().replace_strict(TRUTH | FLOAT_TRUTH, default=None, return_dtype=pl.Boolean)
    if target.is_numeric():
        return _text_number(values, target, decimal)
    if target not in (pl.Date, pl.Datetime, pl.Time):
        return None
    return _iso(values, target) if form is None else _formatted(values, target, form)


def _text_number(values: pl.Series, target: Type, decimal: str) -> pl.Series:
    if decimal == ",":
        values = _only(values, r"^[^.]*$").str.replace(",", ".", literal=True)
    if target.is_integer():
        return _only(values, WHOLE).str.replace(r"\.0*$", "").cast(target, strict=False)
    if isinstance(target, pl.Decimal):
        return _only(values, rf"^[+-]?\d+(\.\d{{0,{target.scale}}}0*)?$").cast(target, strict=False)
    return _only(values, NUMBER).cast(target, strict=False)


def _iso(values: pl.Series, target: Type) -> pl.Series:
    """Parse `2013-03-04`, `10:00[:00[.0]]` or both with a blank or T between, and a zone if the type has one."""
    zone = getattr(target, "time_zone", None)
    digits = DIGITS[getattr(target, "time_unit", "ns")]
    clock = rf"(\d\d:\d\d)(:[0-5]\d)?(?:(\.\d{{1,{digits}}})0*)?"  # a second 60 would be the next minute
    if target == pl.Date:
        midnight = r"(?:[T ]00:00(?::00(?:\.0+)?)?)?"  # as databases and pandas write a date
        return _only(values, f"^{DAY}{midnight}$").str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    if target == pl.Time:
        return _filled(values, f"^(){clock}()$").str.strip_chars().str.to_time("%H:%M:%S%.f", strict=False)
    pattern = rf"^{DAY}[T ]{clock}(Z|[+-]\d\d:?\d\d|[+-]\d\d)$" if zone else rf"^{DAY}(?:[T ]{clock})?()$"
    whole = _filled(values, pattern)
    form = "%Y-%m-%d %H:%M:%S%.f%z" if zone else "%Y-%m-%d %H:%M:%S%.f"
    return _moments(whole, form, target)


def _filled(values: pl.Series, pattern: str) -> pl.Series:
    """Return day, clock, second, fraction and zone in the one form that `_iso` parses."""
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


def _formatted(values: pl.Series, target: Type, form: str) -> pl.Series:
    """Parse by a format that was named; one that cannot bring back a moment that it wrote itself is refused."""
    zone, where = getattr(target, "time_zone", None), f"infra.yaml: source.csv.formats: {form!r} of {values.name}"
    if "%f" in form:  # which here counts nanoseconds: half a second would be 500 of them
        raise UserError(f"{where}: write a point and fraction of a second as %.f, digits alone as %3f, %6f or %9f")
    if zone is None and "%s" in form:
        raise UserError(f"{where}: %s counts seconds in UTC, but the column has no zone")
    if (zone is not None) != ("%z" in form) and "%s" not in form:
        asked = "must hold %z, for the column has a zone" if zone else "holds %z, but the column has no zone"
        raise UserError(f"{where} {asked}")
    moment = PROBE if any(clock in form for clock in CLOCK) else PROBE.replace(hour=0, minute=0)
    probe = pl.Series([moment], dtype=pl.Datetime("us"))
    probe = (
        probe.dt.time()
        if target == pl.Time
        else probe.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        if zone
        else probe.cast(target)
    )
    try:
        if _by_format(probe.dt.to_string(form), target, form).equals(probe):
            return _by_format(values, target, form)
    except (pl.exceptions.PolarsError, ValueError):
        pass
    raise UserError(f"{where} is no format of a {target}, such as '%d.%m.%Y %H:%M'")


def _by_format(values: pl.Series, target: Type, form: str) -> pl.Series:
    if target == pl.Time:
        return values.str.to_time(form, strict=False)
    if target == pl.Date or not any(clock in form for clock in CLOCK):
        return _four_digits(values.str.to_date(form, strict=False), form).cast(target)
    return _four_digits(_moments(values, form, target), form)


def _four_digits(parsed: pl.Series, form: str) -> pl.Series:
    """Take out years that %Y read from two digits: 13 would be the year 13."""
    if not re.search("%[-_0]?[YFcv+]", form):
        return parsed
    return parsed.set((parsed.dt.year() < 1000).fill_null(value=False), None)


def _moments(values: pl.Series, form: str, target: Type) -> pl.Series:
    unit: Any = getattr(target, "time_unit", "us")
    zone = getattr(target, "time_zone", None)
    parsed = values.str.to_datetime(form, time_unit=unit, strict=False)
    # What 64 bits of nanoseconds cannot count comes out as another year.
    countable = values.str.to_datetime(form, time_unit="us", strict=False).dt.year().is_between(*NANOSECONDS)
    if unit == "ns":
        parsed = parsed.set(~countable, None)
    elif FRACTION.search(form):  # digits that the unit cannot hold
        fine = values.str.to_datetime(form, time_unit="ns", strict=False).dt.nanosecond() % 10 ** (9 - DIGITS[unit])
        parsed = parsed.set((countable & (fine != 0)).fill_null(value=False), None)
    if SECOND.search(form):  # a second 60 comes out as the next minute
        sixty = values.str.count_matches("60") > parsed.dt.to_string(form).str.count_matches("60")
        parsed = parsed.set(((parsed.dt.second() == 0) & sixty).fill_null(value=False), None)
    if zone and parsed.dtype.time_zone is None:  # type: ignore[attr-defined]
        parsed = parsed.dt.replace_time_zone("UTC")
    return parsed.dt.convert_time_zone(zone) if zone else parsed


def _only(values: pl.Series, pattern: str) -> pl.Series:
    """Return the values that match, and null for the others."""
    return values.to_frame().select(pl.when(pl.first().str.contains(pattern)).then(pl.first())).to_series()


# DOC data.sources.casting: From the types that files and databases deliver to those of the contract, exactly or not
# at all.

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
    return _casting_number(value, target, decimal) if target.is_numeric() else ""


def _sample(target: Type) -> str:
    if target == pl.Datetime:
        return "2013-03-04 10:30Z" if _zone(target) else "2013-03-04 10:30"
    return "2013-03-04" if target == pl.Date else "10:30"


def _casting_number(value: str, target: Type, decimal: str) -> str:
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
