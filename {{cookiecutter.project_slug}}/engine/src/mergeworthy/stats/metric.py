"""A figure of merit, as a function of the weights of blocks of rows.

A bootstrap draws whole blocks (days) thousands of times. What a metric needs of a block is therefore summed up once,
by `prepare(label, score, block)`, blocks numbered from 0; the closure that it returns takes weights, shape (resamples,
blocks), and returns values, shape (resamples,). If a metric is not defined (a score is NaN, only one class) its value
is NaN.

Another metric needs no such care: `by_rows(f)` makes one of any `f(label, score, weight) -> float` that scikit-learn
would accept as a metric with sample weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Prepare = Callable[[Bools, Floats, Ints], Callable[[Floats], Floats]]


@dataclass(frozen=True)
class Metric:
    """A figure of merit; `greater_is_better` is None if a value in between is best (bounds, but no margins)."""

    prepare: Prepare
    greater_is_better: bool | None

    def __call__(self, label: Bools, score: Floats) -> float:
        """Return the metric of `score`, the probability that `label` is true, over all rows; both of shape (N,)."""
        prepared = self.prepare(label, score.astype(np.float64), np.zeros(len(label), np.int64))
        return float(prepared(np.ones((1, 1)))[0])


def by_rows(metric: Callable[[Bools, Floats, Floats], float]) -> Prepare:
    """Make a metric of a plain function of label, score and row weight, each of shape (N,)."""

    def prepare(label: Bools, score: Floats, block: Ints) -> Callable[[Floats], Floats]:
        return lambda weights: np.array([metric(label, score, weight[block]) for weight in weights])

    return prepare


def mean(term: Callable[[Bools, Floats], Floats]) -> Prepare:
    """Make a metric of what one row contributes to a mean over rows."""

    def prepare(label: Bools, score: Floats, block: Ints) -> Callable[[Floats], Floats]:
        total, rows = np.bincount(block, term(label, score)), np.bincount(block)
        return lambda weights: ratio(weights[:, : len(rows)] @ total, weights[:, : len(rows)] @ rows)

    return prepare


def ratio(above: Floats, below: Floats) -> Floats:
    """Divide; NaN if `below` is 0."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
