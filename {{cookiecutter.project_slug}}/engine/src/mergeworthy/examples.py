"""Example rows generated from the contract alone, for checks that have no data.

They have the contract's types, are within its limits, and are the same each time. Columns of the same name have the
same values in all tables, so that the tables can be joined.
"""

import re
import string
import zlib
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pandera.polars import Check, Column, DataFrameSchema

from .data.contract import requested, validate
from .errors import BrokenDataError, UserError

PARTITION = "2024-01"  # the month of the rows
START, DAYS = datetime(2024, 1, 1), 31
DISTINCT = 40  # distinct values of a text column, or of a column that several tables have
MAX_REPEATED = 5  # repetitions for a pattern's `*` and `+`
# A character or a set of characters, and how often it is repeated.
ATOM = re.compile(r"(\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|[^()|?*+{}\[\]\\])(?:\{(\d+)(,?)(\d*)\}|([?*+]))?")
CHARACTERS = string.ascii_letters + string.digits + "-_ .:/@#"
# Check of pandera → name of its limit, and the step from the limit to the nearest allowed number: 0 if it is allowed.
BOUNDS = {
    "greater_than_or_equal_to": ("min_value", 0),
    "greater_than": ("min_value", 1),
    "less_than_or_equal_to": ("max_value", 0),
    "less_than": ("max_value", -1),
}


def tables(schemas: Mapping[str, DataFrameSchema], rows: int) -> dict[str, pl.DataFrame]:
    """Return up to `rows` rows of each table; raise `UserError` naming a column that cannot be generated."""
    counts = Counter(column for schema in schemas.values() for column in schema.columns)
    shared = {column for column, count in counts.items() if count > 1}
    generated = {name: _table(name, schema, rows, shared) for name, schema in schemas.items()}
    try:
        validate(PARTITION, generated, schemas)
    except BrokenDataError as error:
        raise UserError(f"no rows can be generated from the contract: {error}") from None
    return generated


def requests(schema: DataFrameSchema, rows: int) -> list[dict[str, Any]]:
    """Return up to `rows` rows of the main table as a request has them, each within the limits of its columns.

    What holds only for a whole partition, such as a median, may not hold. Raise `UserError` as `tables` does.
    """
    return _table("request", schema, rows, set()).select(list(requested(schema))).to_dicts()


def matching(pattern: str, random: np.random.Generator) -> str:
    """Return a text that matches a pattern of characters, sets and repetitions; raise `UserError` for any other."""
    position, text = 0, ""
    inner = pattern.removeprefix("^").removesuffix("$")
    while position < len(inner):
        atom = ATOM.match(inner, position)
        if atom is None:
            raise UserError(
                f"no text can be generated for the pattern {pattern}: use only characters, sets and repetitions"
            )
        position = atom.end()
        allowed = [character for character in CHARACTERS if re.fullmatch(atom[1], character)] or [atom[1][-1]]
        text += "".join(random.choice(allowed, random.integers(*_repetitions(atom), endpoint=True)))
    if not re.match(pattern, text):
        raise UserError(f"no text can be generated for the pattern {pattern}")
    return text


def _repetitions(atom: re.Match[str]) -> tuple[int, int]:
    """Return how often an atom is repeated, at least and at most."""
    _, least, comma, most, sign = atom.groups()
    if least:
        return int(least), int(most) if most else int(least) + MAX_REPEATED * bool(comma)
    return {None: (1, 1), "?": (0, 1), "*": (0, MAX_REPEATED), "+": (1, MAX_REPEATED)}[sign]


def _table(table: str, schema: DataFrameSchema, rows: int, shared: set[str]) -> pl.DataFrame:
    time, key = (schema.metadata or {}).get("time"), list(schema.unique or [])
    columns = []
    for name, column in schema.columns.items():
        random = np.random.default_rng(zlib.crc32(f"{table}.{name}".encode()))
        if name == time:
            values = _moments(column, np.arange(rows) * DAYS * 86_400 // rows)
        elif column.dtype.type == pl.String or name in shared:
            same_in_all_tables = np.random.default_rng(zlib.crc32(name.encode()))
            count = DISTINCT if name in shared or key != [name] else rows
            pool = _values(table, name, column, count, same_in_all_tables).unique(maintain_order=True)
            values = pool.gather(random.integers(0, len(pool), rows)) if key != [name] else pool
            if len(values) < rows:
                values = values.extend_constant(None, rows - len(values))
        else:
            values = _values(table, name, column, rows, random)
        columns.append(_with_nulls(values, column, random).alias(name))
    generated = pl.DataFrame(columns)
    return generated.drop_nulls(key).unique(key, keep="first", maintain_order=True) if key else generated


def _values(table: str, name: str, column: Column, rows: int, random: np.random.Generator) -> pl.Series:
    dtype, checks = column.dtype.type, {check.name: check for check in column.checks}
    if "isin" in checks:
        allowed = list(checks["isin"].statistics["allowed_values"])
        return pl.Series([allowed[index] for index in random.integers(0, len(allowed), rows)], dtype=dtype)
    if dtype == pl.String:
        return pl.Series([_text(name, checks.get("str_matches"), random, row) for row in range(rows)], dtype=dtype)
    if dtype == pl.Boolean:
        return pl.Series(random.random(rows) < 0.5, dtype=dtype)
    if dtype in (pl.Date, pl.Datetime):
        return _moments(column, random.integers(0, DAYS * 86_400, rows))
    if isinstance(dtype, pl.Enum):
        return pl.Series(random.choice(dtype.categories.to_list(), rows), dtype=dtype)
    if dtype.is_integer() or dtype.is_float():
        return pl.Series(_numbers(column, rows, random)).cast(dtype)
    raise UserError(f"no rows can be generated from the contract: table {table}: column {name} has type {dtype}")


def _text(name: str, check: Check | None, random: np.random.Generator, row: int) -> str:
    if check is None:
        return f"{name} {row}"
    pattern = (check.statistics or {})["pattern"]
    return matching(getattr(pattern, "pattern", pattern), random)


def _numbers(column: Column, rows: int, random: np.random.Generator) -> NDArray[Any]:
    """Return numbers within the limits; if the median has limits too, half of the numbers are within those."""
    whole = column.dtype.type.is_integer()
    low, high = _limits(column, whole=whole)
    median = (column.metadata or {}).get("median")
    if median is None:
        return _between(low, high, rows, random, whole=whole)
    inner = max(low, median[0]), min(high, median[1])
    draws = [
        _between(least, most, rows, random, whole=whole) for least, most in ((low, inner[0]), inner, (inner[1], high))
    ]
    return np.choose(random.permutation(np.arange(rows) % 4), [draws[0], draws[1], draws[1], draws[2]])


def _between(low: float, high: float, rows: int, random: np.random.Generator, *, whole: bool) -> NDArray[Any]:
    if whole:
        return random.integers(int(np.ceil(low)), int(high), rows, endpoint=True)
    return random.uniform(low, high, rows)


def _limits(column: Column, *, whole: bool) -> tuple[float, float]:
    """Return the least and the greatest number that the checks of a column allow, at most 100 apart by default."""
    low, high = -np.inf, np.inf
    for check in column.checks:
        limits = check.statistics or {}
        step = 1 if whole else 1e-6
        if check.name == "in_range":
            low = max(low, limits["min_value"] + step * (not limits["include_min"]))
            high = min(high, limits["max_value"] - step * (not limits["include_max"]))
        elif check.name in BOUNDS:
            key, sign = BOUNDS[check.name]
            limit = limits[key] + sign * step
            low, high = (max(low, limit), high) if key == "min_value" else (low, min(high, limit))
    if low == -np.inf:
        low = high - 100 if high < np.inf else 0
    return low, high if high < np.inf else low + 100


def _moments(column: Column, seconds: NDArray[np.int64]) -> pl.Series:
    dtype = column.dtype.type
    if dtype == pl.Date:
        return pl.Series([START.date() + timedelta(days=int(each) // 86_400) for each in seconds], dtype=pl.Date)
    zone = getattr(dtype, "time_zone", None)
    moments = pl.Series(
        [START + timedelta(minutes=int(each) // 60) for each in seconds], dtype=pl.Datetime(dtype.time_unit)
    )
    return moments.dt.replace_time_zone(zone) if zone else moments


def _with_nulls(values: pl.Series, column: Column, random: np.random.Generator) -> pl.Series:
    share = (column.metadata or {}).get("max_null", 0.1) / 2 if column.nullable else 0
    is_null = pl.Series(random.permutation(len(values)) < int(share * len(values)))
    return values.set(is_null, None) if is_null.any() else values
