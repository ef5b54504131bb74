"""How good a score is, as functions of the weights of blocks of rows.

A bootstrap draws whole blocks (days) thousands of times. What a metric needs of a block is therefore summed up once,
by `prepare(label, score, block)`, blocks numbered from 0; the closure that comes back takes weights, shape (resamples,
blocks), and gives values, shape (resamples,). Where a metric cannot be told (a score is NaN, only one class) its value
is NaN.

Another metric needs no such care: `by_rows(f)` makes one of any `f(label, score, weight) -> float` that scikit-learn
would accept as a metric with sample weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .calibration import ece, slope

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Prepare = Callable[[Bools, Floats, Ints], Callable[[Floats], Floats]]

EPS = float(np.finfo(np.float32).eps)  # what a float32 score can resolve: keeps the log loss of a certain error finite


@dataclass(frozen=True)
class Metric:
    """A figure of merit; `greater_is_better` is None where a value in between is best (bounds, but no margins)."""

    prepare: Prepare
    greater_is_better: bool | None

    def __call__(self, label: Bools, score: Floats) -> float:
        """Give the metric of `score`, the probability that `label` is true, over all rows; both of shape (N,)."""
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
        return lambda weights: _ratio(weights[:, : len(rows)] @ total, weights[:, : len(rows)] @ rows)

    return prepare


def auc(label: Bools, score: Floats, block: Ints) -> Callable[[Floats], Floats]:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order, a tie counting half.

    The pairs are counted once between every two blocks, so that a resample is a quadratic form in the weights.
    """
    blocks = int(block.max(initial=-1)) + 1
    order = np.argsort(score)
    label, block, ranked = label[order], block[order], score[order]
    positive = block[label]
    first = np.searchsorted(ranked, ranked[label], side="left")
    last = np.searchsorted(ranked, ranked[label], side="right")
    pairs = np.zeros((blocks, blocks))
    for other in range(blocks):
        below = np.concatenate([[0], np.cumsum(~label & (block == other))])
        pairs[:, other] = np.bincount(positive, (below[first] + below[last]) / 2, blocks)
    positives, negatives = np.bincount(positive, minlength=blocks), np.bincount(block[~label], minlength=blocks)
    told = np.nan if np.isnan(score).any() else 1.0

    def value(weights: Floats) -> Floats:
        weights = weights[:, :blocks]
        right = ((weights @ pairs) * weights).sum(axis=1)
        return told * _ratio(right, (weights @ positives) * (weights @ negatives))

    return value


def _log_loss(label: Bools, score: Floats) -> Floats:
    right: Floats = np.where(label, score, 1 - score)
    return -np.log(np.clip(right, EPS, 1))


def _brier(label: Bools, score: Floats) -> Floats:
    return np.square(score - label)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


METRICS = {
    "auc": Metric(auc, greater_is_better=True),
    "log_loss": Metric(mean(_log_loss), greater_is_better=False),
    "brier": Metric(mean(_brier), greater_is_better=False),
    "ece": Metric(by_rows(ece), greater_is_better=False),
    "calibration_slope": Metric(by_rows(slope), greater_is_better=None),
}
