"""The data contract enforced: pandera's checks, and the rules in the metadata of `src/ml/schema.py`.

Every violation is a `BrokenDataError` of one line that names partition, table, column, rule, rows and an example.
An error in the schema itself is a `UserError` that names the file.

Example rows are generated from the contract alone, for checks that have no data. They have its types, are within its
limits, and are the same each time. Columns of the same name have the same values in all tables, which can be joined.
"""

import math
import re
import string
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pandera.errors import SchemaErrors
from pandera.polars import Check, Column, DataFrameSchema

from ..errors import BrokenDataError, UserError
from ..project import registered

SCHEMA_FILE = "src/ml/schema.py"
RULE_MESSAGES = {  # pandera's name of a rule → what the message says
    "not_nullable": "must not be null",
    "multiple_fields_uniqueness": "must be unique",
    "field_uniqueness": "must be unique",
}
# Names that pandas gives to an index, and R to its column of row names.
INDEX_NAME = re.compile(r"|Unnamed: \d+|__index_level_\d+__|index|level_\d+|column_\d+|X|\.\.\.1|row\.?names?|_row")
EXCEPTION = re.compile(r"\w*(Error|Exception)\(")
MAX_SHOWN = 80  # characters of a value in a message
MAX_LATIN = 0x24F  # the last code point of Unicode's Latin blocks

Rules = Mapping[str, tuple[Callable[[Any], bool], str]]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_range(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)) and value[0] <= value[1]


# Rule of the metadata → check of its value, and the value that is expected.
TABLE_RULES: Rules = {
    "time": (lambda value: isinstance(value, str) and value != "", "the name of a column"),
    "time_zone": (lambda value: isinstance(value, str), "a name such as Europe/Rome"),
    "max_gap_hours": (lambda value: _is_number(value) and value > 0, "a number of hours above 0"),
}
COLUMN_RULES: Rules = {
    "max_null": (lambda value: _is_number(value) and 0 <= value <= 1, "a share from 0 to 1"),
    "median": (_is_range, "its least and its greatest value, as (28, 95)"),
    "private": (lambda value: isinstance(value, bool), "True or False"),
    "known": (lambda value: isinstance(value, str), "a word"),
}


def validate(
    partition: str, tables: Mapping[str, pl.DataFrame], schemas: Mapping[str, DataFrameSchema] | None = None
) -> None:
    """Raise `BrokenDataError` for the first violation in `tables` (name → rows of one partition)."""
    schemas = registered().schemas if schemas is None else schemas
    if unmatched := sorted(schemas.keys() ^ tables.keys()):
        problem = "is missing" if unmatched[0] in schemas else "is not in the contract"
        raise BrokenDataError(f"{partition}/{unmatched[0]}: the table {problem}")
    for name, schema in schemas.items():
        check_schema(name, schema)
        for violation in _violations(partition, tables[name], schema):
            raise BrokenDataError(f"{partition}/{name}: {violation}")


def check_schema(name: str, schema: DataFrameSchema) -> None:
    """Raise `UserError` if the schema has a rule that cannot be checked, or names a column that it does not have."""
    where, metadata = f"{SCHEMA_FILE}: table {name}: ", schema.metadata or {}
    _check_rules(where, metadata, TABLE_RULES)
    for column in schema.columns.values():
        _check_rules(f"{where}column {column.name}: ", column.metadata or {}, COLUMN_RULES)
        if column.regex or not column.required or column.dtype is None:
            raise UserError(f"{where}column {column.name} needs a name of its own, a type, and required=True")
    key, time = list(schema.unique or []), metadata.get("time")
    if len(set(key)) < len(key):
        raise UserError(f"{where}`unique` names a column twice")
    if metadata.get("max_gap_hours") is not None and not time:
        raise UserError(f"{where}`max_gap_hours` needs `time`, the column whose gaps are meant")
    if missing := [column for column in [*key, *([time] if time else [])] if column not in schema.columns]:
        raise UserError(f"{where}`unique` or `time` names {missing[0]!r}, which is no column of the table")
    if time and schema.columns[time].dtype.type not in (pl.Date, pl.Datetime):
        dtype = schema.columns[time].dtype.type
        raise UserError(f"{where}`time` names {time}, whose type is {dtype}: it must be Date or Datetime")


def period(partition: str) -> tuple[datetime, datetime] | None:
    """Return start and end (exclusive) of a partition named after a year, month or day, e.g. 2013-06; else None."""
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
    """Return the part of a message that shows a value; the value of a private column is never shown.

    If `text`, a string is quoted, so that its blanks can be seen.
    """
    if private(schema, [column]):
        return " (the column is private, so none is shown)"
    return f", e.g. {_shortened(repr(value) if text and isinstance(value, str) else str(value))}"


def private(schema: DataFrameSchema, columns: Iterable[str]) -> bool:
    """Return whether any of the columns is marked as private."""
    return not private_columns(schema).isdisjoint(columns)


def private_columns(schema: DataFrameSchema) -> frozenset[str]:
    """Return the columns that are marked as private; their values are never logged or shown."""
    return frozenset(str(name) for name, column in schema.columns.items() if (column.metadata or {}).get("private"))


def requested(schema: DataFrameSchema) -> dict[str, Column]:
    """Return the columns of a request's row: all but those that are known only afterwards."""
    return {
        str(name): column for name, column in schema.columns.items() if (column.metadata or {}).get("known") != "after"
    }


def _check_rules(where: str, metadata: object, rules: Rules) -> None:
    """Raise `UserError` if metadata gives a rule a value that it cannot have, or misspells a rule."""
    if not isinstance(metadata, dict):
        raise UserError(f"{where}metadata must be a dictionary, not {metadata!r}")
    for rule, value in metadata.items():
        if rule in rules:
            is_valid, expected = rules[rule]
            if not is_valid(value):
                raise UserError(f"{where}metadata {rule} must be {expected}, not {value!r}")
        elif similar := get_close_matches(str(rule), rules, n=1, cutoff=0.75):
            raise UserError(f"{where}metadata {rule!r} is no rule: is {similar[0]} meant?")


def _violations(partition: str, table: pl.DataFrame, schema: DataFrameSchema) -> Iterator[str]:
    if difference := _column_difference(table.columns, schema):
        yield difference
    if table.is_empty():
        yield "the table has no rows"
    for name, column in schema.columns.items():
        yield from _type_violations(name, table[name], column)
    yield from _pandera_violations(table, schema)
    for name, column in schema.columns.items():
        yield from _column_violations(name, table[name], column.metadata or {})
    if time := (schema.metadata or {}).get("time"):
        yield from _time_violations(partition, time, table[time], schema)


def _column_difference(names: list[str], schema: DataFrameSchema) -> str | None:
    """Return in which column a table differs from the contract, and the likely reason."""
    missing = [name for name in schema.columns if name not in names]
    extra = [name for name in names if name not in schema.columns] if missing or schema.strict is True else []
    for expected in missing:
        if similar := [name for name in extra if _normalized(name) == _normalized(expected)]:
            return f"column {expected} is missing, but there is {similar[0]!r}: blanks and capitals count, rename it"
        if similar := [name for name in extra if _looks_like(name, expected)]:
            return f"column {expected} is missing, but there is {similar[0]!a}, which only looks like it: rename it"
    if len(missing) == len(schema.columns) and private(schema, missing):
        # The table may lack a header: its first row would then be taken for the names, and be shown.
        return f"column {missing[0]} is missing, as is every other: does the table have the names of its columns?"
    if missing:
        others = f"; columns that are not in the contract: {_listed(extra)}" if extra else ""
        return f"column {missing[0]} is missing{others}"
    for name in extra:
        if INDEX_NAME.fullmatch(name):
            hint = "it looks like the index of pandas, which `index=False` leaves out, or like one separator too many"
            return f"column {name!r} is not in the contract: {hint}"
    return f"column {extra[0]!r} is not in the contract" if extra else None


def _normalized(name: str) -> str:
    return re.sub(r"[\s_\-.]+", "", name).casefold()


def _looks_like(name: str, expected: str) -> bool:
    """Return whether the names differ only by letters of another alphabet, separate accents or invisible characters."""
    visible, expected = (
        "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
        for text in (name, expected)
    )
    if visible == expected:
        return True
    pairs = list(zip(visible, expected, strict=False))
    same = sum(left == right for left, right in pairs)
    foreign = all(ord(left) > MAX_LATIN for left, right in pairs if left != right)
    return len(visible) == len(expected) and foreign and same * 2 >= len(pairs)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(name[:MAX_SHOWN]) for name in names[:5]) + more


def _type_violations(name: str, values: pl.Series, column: Column) -> Iterator[str]:
    source, target = values.dtype, column.dtype.type
    if source != target:
        yield f"column {name} has type {source}, expected {target}{_zone_hint(source, target)}"
    for numbers in _floats(values):
        count = (numbers.is_nan() | numbers.is_infinite()).sum()
        if count:
            rows = "rows" if source.is_float() else "values"
            yield (
                f"column {name} holds NaN or infinity in {count:,} of {len(numbers):,} {rows}: a number must be "
                "finite, and null if it is unknown"
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


def _zone_hint(source: pl.DataType, target: pl.DataType) -> str:
    expected, delivered = getattr(target, "time_zone", None), getattr(source, "time_zone", None)
    if target == pl.Datetime and source == pl.Datetime and (expected is None) != (delivered is None):
        kind = f"has the zone {expected}" if expected else "has no zone"
        return f": the contract's {kind}, so convert it in the source, which knows the moment that is meant"
    return ""


def _pandera_violations(table: pl.DataFrame, schema: DataFrameSchema) -> Iterator[str]:
    try:
        schema.validate(table, lazy=True)
    except SchemaErrors as error:
        yield _first_failure(error.failure_cases, table, schema)
    except Exception as error:  # noqa: BLE001, a check is the project's own code, and its error may hold values
        raise UserError(f"{SCHEMA_FILE}: a check cannot be made: {type(error).__name__}") from None


def _first_failure(cases: pl.DataFrame, table: pl.DataFrame, schema: DataFrameSchema) -> str:
    """Return the first of pandera's failure cases as a line; raise `UserError` if the check itself failed."""
    first = cases.row(0, named=True)
    column, rule, value = first["column"], first["check"], first["failure_case"]
    rows = cases.filter(pl.col("check") == rule, pl.col("column").eq_missing(column)).height
    if rule == "multiple_fields_uniqueness":
        key = [str(name) for name in schema.unique or []]
        # Only the key's own columns: pandera's example is the whole row.
        duplicates = table.filter(table.select(key).is_duplicated()).select(key)
        shown = "" if private(schema, key) or duplicates.is_empty() else f", e.g. {_row(duplicates)}"
        return f"key {', '.join(key)} {RULE_MESSAGES[rule]}, but {rows:,} rows share theirs{shown}"
    if first["index"] is None and EXCEPTION.match(str(value)):
        where = f"column {column}" if column in table.columns else "a check of the table"
        raise UserError(f"{SCHEMA_FILE}: {where}: {rule} cannot be checked: {str(value).split('(')[0]}")
    if column not in table.columns:
        return f"the table must satisfy {rule}"
    text = table.schema[column] in (pl.String, pl.Categorical, pl.Enum)
    shown = "" if rule == "not_nullable" else example(schema, column, value, text=text)
    requirement = RULE_MESSAGES.get(rule, f"must satisfy {rule}")
    return f"column {column} {requirement}, but {rows:,} of {table.height:,} rows do not{shown}"


def _row(table: pl.DataFrame) -> str:
    return _shortened(", ".join(repr(value) if isinstance(value, str) else str(value) for value in table.row(0)))


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def _column_violations(name: str, values: pl.Series, rules: dict[str, Any]) -> Iterator[str]:
    share, limit = values.null_count() / len(values), rules.get("max_null", 1.0)
    if share > limit:
        rows = f"{values.null_count():,} of {len(values):,} rows"
        yield f"column {name} is null in {share:.1%} ({rows}), max_null is {limit:.1%}"
    if "median" in rules and values.dtype.is_numeric() and values.null_count() < len(values):
        (low, high), median = rules["median"], float(cast("float", values.cast(pl.Float64).median()))
        if not low <= median <= high:
            shown = "another median than" if rules.get("private") else f"median {median:g},"
            yield f"column {name} has {shown} expected {low:g} to {high:g}: has its unit changed?"


def _time_violations(partition: str, name: str, times: pl.Series, schema: DataFrameSchema) -> Iterator[str]:
    span, rules = period(partition), schema.metadata or {}
    if span is None:
        raise UserError(f"{partition}: the contract has a time column, so name partitions 2013, 2013-06 or 2013-06-30")
    limits = pl.Series(span, dtype=pl.Datetime("us"))
    if zone := getattr(times.dtype, "time_zone", None):
        limits = limits.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    limits = limits.cast(times.dtype)
    start, end = limits
    outside = times.filter((times < start) | (times >= end))
    if len(outside):
        yield (
            f"column {name} must lie in the partition {partition}, but {len(outside):,} of {len(times):,} rows "
            f"do not{example(schema, name, outside[0])}"
        )
    if limit := rules.get("max_gap_hours"):
        moments = pl.concat([limits, times]).drop_nulls().sort()
        gap = moments.diff().fill_null(timedelta(0))
        longest = int(gap.arg_max() or 0)
        if gap[longest] > timedelta(hours=limit):
            between = "" if private(schema, [name]) else f" between {moments[longest - 1]} and {moments[longest]}"
            yield f"column {name} has no rows{between}, max_gap_hours is {limit}: the delivery is incomplete"


EXAMPLE_MONTH = "2024-01"  # the month of the rows
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


def example_tables(schemas: Mapping[str, DataFrameSchema], rows: int) -> dict[str, pl.DataFrame]:
    """Return up to `rows` rows of each table; raise `UserError` naming a column that cannot be generated."""
    counts = Counter(column for schema in schemas.values() for column in schema.columns)
    shared = {column for column, count in counts.items() if count > 1}
    generated = {name: _table(name, schema, rows, shared) for name, schema in schemas.items()}
    try:
        validate(EXAMPLE_MONTH, generated, schemas)
    except BrokenDataError as error:
        raise UserError(f"no rows can be generated from the contract: {error}") from None
    return generated


def example_requests(schema: DataFrameSchema, rows: int) -> list[dict[str, Any]]:
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
