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


def asof(rows: pl.LazyFrame, time: str, history: History) -> pl.LazyFrame:
    """Join what was known strictly before `time`; `rows` are sorted by it, and stay so."""
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
