"""The history of the gate's test project: nothing becomes known over time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from ml.params import Params


@dataclass(frozen=True)
class History:
    """What the online store would take."""

    by: list[str]
    table: pl.LazyFrame
    within: timedelta | None = None


def build_history(tables: Mapping[str, pl.LazyFrame], params: Params) -> dict[str, History]:
    """Return none."""
    return {}
