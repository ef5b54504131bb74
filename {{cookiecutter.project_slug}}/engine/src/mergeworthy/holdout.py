"""The newest partition, which no model was trained on, and what a model is worth on it.

Evaluation and gate both measure here, so that what is judged is what was reported, and what ships. The label is binary,
which is what training, metrics and gate are made for: anything else is refused, never cast.
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
from .paths import FEATURES
from .project import registered

# DOC label: The label: binary, which is what training, metrics and gate are made for. Anything else is refused, never
# cast.


def check_label(rows: pl.LazyFrame, where: str | Path) -> None:
    """Raise `UserError` naming `where` unless the label is true or false, or a number that is 0 or 1, or null.

    Booleans are known by their type; of numbers the column is read, and the first other value is named.
    """
    name, schema = registered().target, rows.collect_schema()
    if name not in schema:
        raise UserError(f"{where}: there is no label column {name}: build_features must give it")
    if (dtype := schema[name]) == pl.Boolean:
        return
    value = pl.col(name)
    other = value.is_not_null() & ~((value == 0) | (value == 1)) if dtype.is_numeric() else value.is_not_null()
    found = rows.filter(other).select(name).head(1).collect().to_series()
    if len(found) or not dtype.is_numeric():
        example = f", e.g. {found[0]!r}" if len(found) else ""
        raise UserError(
            f"{where}: the label {name} is not binary (type {dtype}{example}): this pipeline predicts yes or no, so "
            "build_features must give true or false, or null where it is not known yet"
        )


def labels(table: pl.DataFrame, where: str | Path) -> NDArray[np.bool_]:
    """Return the labels of rows that have one, shape (N,); raise `UserError` naming `where` if they are not binary."""
    check_label(table.lazy(), where)
    label: NDArray[Any] = table[registered().target].to_numpy()
    return label.astype(bool)


# DOC holdout: The newest partition, which no model was trained on, and what a model is worth on it. Evaluation and
# gate both measure here, so that what is judged is what was reported, and what ships.

MEND = "run `make pipeline`"


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
    """Read the holdout from `features/`; raise `UserError` where there is none."""
    found = sorted(FEATURES.glob("*.parquet"))
    if len(found) < 2:
        raise UserError(f"features/ holds {len(found)} partition(s), a holdout needs two: run `make pipeline`")
    *training, newest = found
    for path in found:
        check_label(files.scan_parquet([path], MEND, [registered().target]), path)
    labelled = pl.col(registered().target).is_not_null()
    with files.whole(training, MEND):
        prior = (
            files.scan_parquet(training, MEND, [registered().target])
            .select(pl.col(registered().target).mean())
            .collect()
            .item()
        )
    table = files.read_parquet(newest, MEND, [registered().target]).filter(labelled)
    if table.is_empty() or prior is None:
        raise UserError(
            f"{newest}: no row has a known {registered().target}, so nothing can be measured: choose a newer partition"
        )
    return Holdout(newest.stem, table, float(prior))


def figures(label: NDArray[np.bool_], score: NDArray[np.floating[Any]]) -> dict[str, float | None]:
    """Give every metric by name; None where it cannot be told, which JSON has no other word for."""
    values = {name: metric(label, score.astype(np.float64)) for name, metric in registered().all_metrics.items()}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def measure(holdout: Holdout, score: NDArray[np.floating[Any]]) -> dict[str, Any]:
    """Give the content of `reports/metrics.json`: the model's metrics beside those of a constant guess."""
    label = holdout.label
    return {
        "partition": holdout.partition,
        "rows": len(label),
        "positive_share": float(label.mean()),
        "model": figures(label, score),
        "baseline": figures(label, np.full(len(label), holdout.prior)),
    }
