"""What becomes known over time, as tables that a row is joined to by key and moment.

Training joins whole tables (`asof`); the service looks the same tables up, row by row.
"""

from dataclasses import dataclass
from datetime import timedelta

import polars as pl


@dataclass(frozen=True)
class History:
    """Rows of `by`, `at` and values, sorted by `at`: from just after that moment on, the values hold for that key.

    They do until the key's next row, and at most for `within`. If none holds, an integer (a count) is 0 and anything
    else is missing.
    """

    by: list[str]
    table: pl.LazyFrame
    within: timedelta | None = None


def problem(history: object) -> str | None:
    """Return what is wrong with a `History`, and what is expected; None if nothing is."""
    if not isinstance(history, History):
        return f"expected a History, got a value of type {type(history).__name__}"
    if not isinstance(history.table, pl.LazyFrame):
        return f"the table of a History is a polars LazyFrame, got a value of type {type(history.table).__name__}"
    if isinstance(history.by, str) or not all(isinstance(name, str) for name in history.by):
        return f"`by` of a History is a list of names of columns, got {history.by!r}"
    columns = history.table.collect_schema()
    missing = [name for name in [*history.by, "at"] if name not in columns]
    return f"the table of a History needs the columns of `by` and `at`, and has no {missing[0]}" if missing else None


def asof(rows: pl.LazyFrame, time: str, history: History) -> pl.LazyFrame:
    """Join what was known strictly before `time`; `rows` are sorted by it, and stay so.

    Raise `ValueError` if `history` is none, or lacks a column.
    """
    if wrong := problem(history):
        raise ValueError(wrong)
    joined = rows.join_asof(
        history.table,
        left_on=time,
        right_on="at",
        by=history.by,
        tolerance=history.within,
        allow_exact_matches=False,
        check_sortedness=False,
    )
    counts = [name for name, dtype in history.table.collect_schema().items() if dtype == pl.Int64]
    return joined.drop("at", strict=False).with_columns(pl.col(counts).fill_null(0))
