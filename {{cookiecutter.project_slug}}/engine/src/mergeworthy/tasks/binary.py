"""Binary classification: the task `Binary`, and the metrics of a predicted probability.

Metrics are functions of the weights of blocks of rows: see `Metric` in `stats.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..stats import Metric, by_rows, ece, mean, ratio, slope

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SCORE_DIGITS = 7  # of an answer and in the log; a float32 has no more
EPS = float(np.finfo(np.float32).eps)  # resolution of a float32 score near 1: it keeps the log loss finite


def auc(label: Bools, score: Floats, block: Ints) -> Callable[[Floats], Floats]:
    """Return the area under the ROC curve: the share of (positive, negative) pairs in the right order; ties count half.

    `label`, `score` and `block` have the shape (N,). Pairs are counted once between every two blocks, so that a
    resample is a quadratic form in the weights of the blocks.
    """
    blocks = int(block.max(initial=-1)) + 1
    order = np.argsort(score)
    label, block, ranked = label[order], block[order], score[order]
    positive = block[label]
    first = np.searchsorted(ranked, ranked[label], side="left")
    last = np.searchsorted(ranked, ranked[label], side="right")
    pairs = np.zeros((blocks, blocks))
    for negatives_block in range(blocks):
        below = np.concatenate([[0], np.cumsum(~label & (block == negatives_block))])
        pairs[:, negatives_block] = np.bincount(positive, (below[first] + below[last]) / 2, blocks)
    positives, negatives = np.bincount(positive, minlength=blocks), np.bincount(block[~label], minlength=blocks)
    defined = np.nan if np.isnan(score).any() else 1.0

    def value(weights: Floats) -> Floats:
        weights = weights[:, :blocks]
        right = ((weights @ pairs) * weights).sum(axis=1)
        return defined * ratio(right, (weights @ positives) * (weights @ negatives))

    return value


def _log_loss(label: Bools, score: Floats) -> Floats:
    right: Floats = np.where(label, score, 1 - score)
    return -np.log(np.clip(right, EPS, 1))


def _brier(label: Bools, score: Floats) -> Floats:
    return np.square(score - label)


METRICS = {
    "auc": Metric(auc, greater_is_better=True),
    "log_loss": Metric(mean(_log_loss), greater_is_better=False),
    "brier": Metric(mean(_brier), greater_is_better=False),
    "ece": Metric(by_rows(ece), greater_is_better=False),
    "calibration_slope": Metric(by_rows(slope), greater_is_better=None),
}


@dataclass(frozen=True)
class Binary:
    """Binary classification: `target` is a column of the features, true, false, or null if it is not known.

    `label` takes the parameters, and returns the same as an expression of the main table's columns. The gate evaluates
    it on the table itself, to check that the features have every labelled row.
    """

    target: str
    label: Callable[[Any], pl.Expr]
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS, init=False)

    answer_schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"scores": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}}},
        "required": ["scores"],
        "additionalProperties": False,
    }
    """JSON schema of what the service answers."""

    def answer(self, scores: NDArray[np.float32]) -> dict[str, Any]:
        """Return what the service answers for scores of shape (N,): the probability of the label for each row."""
        return {"scores": _rounded(scores)}

    def logged(self, scores: NDArray[np.float32]) -> dict[str, list[float]]:
        """Return the columns, of N values each, by which the prediction log keeps an answer."""
        return {"score": _rounded(scores)}


def _rounded(scores: NDArray[np.float32]) -> list[float]:
    values: list[float] = scores.astype(np.float64).round(SCORE_DIGITS).tolist()
    return values
