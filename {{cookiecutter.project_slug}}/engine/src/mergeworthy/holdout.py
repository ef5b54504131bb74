"""The holdout (the newest partition, which no model is trained on), and the metrics of a model on it.

Evaluation and gate both measure here, so that the gate judges what the report shows. Training, metrics and gate are
made for a binary label: any other label is refused, never cast.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import files
from .errors import UserError
from .files import FEATURES
from .project import registered

HOW_TO_FIX = "run `make pipeline`"


@dataclass(frozen=True)
class Holdout:
    """Labelled rows of the newest partition; `prior` is the share of positives in the partitions before it."""

    partition: str
    table: pl.DataFrame
    prior: float

    @property
    def label(self) -> NDArray[np.bool_]:
        """Labels, shape (N,)."""
        return labels(self.table, FEATURES / f"{self.partition}.parquet")


def read() -> Holdout:
    """Read the holdout from `features/`; raise `UserError` if there is none."""
    target = registered().target
    paths = sorted(FEATURES.glob("*.parquet"))
    if len(paths) < 2:
        raise UserError(f"features/ holds {len(paths)} partition(s), a holdout needs two: {HOW_TO_FIX}")
    *training, newest = paths
    for path in paths:
        check_label(files.scan_parquet([path], HOW_TO_FIX, [target]), path)
    with files.whole(training, HOW_TO_FIX):
        prior = files.scan_parquet(training, HOW_TO_FIX, [target]).select(pl.col(target).mean()).collect().item()
    table = files.read_parquet(newest, HOW_TO_FIX, [target]).filter(pl.col(target).is_not_null())
    if table.is_empty() or prior is None:
        raise UserError(f"{newest}: no row has a known {target}, so nothing can be measured: choose a newer partition")
    return Holdout(newest.stem, table, float(prior))


def measure(holdout: Holdout, score: NDArray[np.floating[Any]]) -> dict[str, Any]:
    """Return the content of `reports/metrics.json`: the metrics of the model, and of a constant guess (the prior)."""
    label = holdout.label
    return {
        "partition": holdout.partition,
        "rows": len(label),
        "positive_share": float(label.mean()),
        "model": figures(label, score),
        "baseline": figures(label, np.full(len(label), holdout.prior)),
    }


def figures(label: NDArray[np.bool_], score: NDArray[np.floating[Any]]) -> dict[str, float | None]:
    """Return every metric by name; None if it cannot be computed, because JSON has no NaN."""
    values = {name: metric(label, score.astype(np.float64)) for name, metric in registered().all_metrics.items()}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def check_label(rows: pl.LazyFrame, where: str | Path) -> None:
    """Raise `UserError` naming `where` unless each label is true or false, or a number that is 0 or 1, or null.

    A Boolean column passes by its type. A column of numbers is read, and the error names its first other value.
    """
    name, schema = registered().target, rows.collect_schema()
    if name not in schema:
        raise UserError(f"{where}: there is no label column {name}: build_features must return it")
    if (dtype := schema[name]) == pl.Boolean:
        return
    value = pl.col(name)
    wrong = value.is_not_null() & ~((value == 0) | (value == 1)) if dtype.is_numeric() else value.is_not_null()
    first = rows.filter(wrong).select(name).head(1).collect().to_series()
    if len(first) or not dtype.is_numeric():
        example = f", e.g. {first[0]!r}" if len(first) else ""
        raise UserError(
            f"{where}: the label {name} is not binary (type {dtype}{example}): this pipeline predicts yes or no, so "
            "build_features must return true or false, or null if it is not known yet"
        )


def labels(table: pl.DataFrame, where: str | Path) -> NDArray[np.bool_]:
    """Return the labels of rows that have one, shape (N,); raise `UserError` naming `where` if they are not binary."""
    check_label(table.lazy(), where)
    label: NDArray[Any] = table[registered().target].to_numpy()
    return label.astype(bool)
