"""What becomes known over time: nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from ..params import Params


@dataclass(frozen=True)
class History:
    """What the online store would take; there is none."""

    by: list[str]
    table: pl.LazyFrame
    within: timedelta | None = None


def build_history(tables: Mapping[str, pl.LazyFrame], params: Params) -> dict[str, History]:
    """No history."""
    return {}
