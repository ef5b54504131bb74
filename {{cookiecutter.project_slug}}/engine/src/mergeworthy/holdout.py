"""The newest partition, which no model was trained on, and what a model is worth on it.

Evaluation and gate both measure here, so that what is judged is what was reported, and what ships.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import files
from .errors import UserError
from .label import check
from .label import values as binary
from .paths import FEATURES
from .project import registered

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
        return binary(self.table, FEATURES / f"{self.partition}.parquet")


def read() -> Holdout:
    """Read the holdout from `features/`; raise `UserError` where there is none."""
    found = sorted(FEATURES.glob("*.parquet"))
    if len(found) < 2:
        raise UserError(f"features/ holds {len(found)} partition(s), a holdout needs two: run `make pipeline`")
    *training, newest = found
    for path in found:
        check(files.scan_parquet([path], MEND, [registered().target]), path)
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
