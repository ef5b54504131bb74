"""What text means in the types of the contract: plain numbers, ISO 8601, or a format that was named."""

import re
from datetime import datetime
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass

from ...errors import UserError

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
        return _number(values, target, decimal)
    if target not in (pl.Date, pl.Datetime, pl.Time):
        return None
    return _iso(values, target) if form is None else _formatted(values, target, form)


def _number(values: pl.Series, target: Type, decimal: str) -> pl.Series:
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
