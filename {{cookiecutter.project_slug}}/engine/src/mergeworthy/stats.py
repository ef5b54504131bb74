"""Statistics by numpy alone: metrics, calibration, distances, and the paired block bootstrap.

A metric is a function of the weights of blocks. A bootstrap draws whole blocks (days) thousands of times, so what a
metric needs of a block is summed up once, by `prepare(label, score, block)`, with blocks numbered from 0. The closure
that `prepare` returns takes weights, shape (resamples, blocks), and returns values, shape (resamples,). The value of a
metric that is not defined (a score is NaN, only one class) is NaN. A metric of your own needs no such care:
`by_rows(f)` makes one from any `f(label, score, weight) -> float` that scikit-learn would accept as a metric with
sample weights.

The bootstrap measures how certain the difference between two models is when rows of the same day are not independent.
Both models are measured on the same resamples of whole blocks (paired block bootstrap; Künsch 1989), so what is hard
for both models cancels. The bootstrap gives the standard error. Bounds come from Student's t with blocks - 1 degrees of
freedom: a month has only thirty days, and percentiles of a bootstrap of thirty blocks are too narrow.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Targets = NDArray[Any]  # of N rows, shape (N,): Booleans, numbers of classes, or floats, as the task says
Prepare = Callable[[Targets, Floats, Ints], Callable[[Floats], Floats]]

CALIBRATION_BINS = 15
NEWTON_STEPS, NEWTON_TOLERANCE, MAX_CONDITION = 50, 1e-9, 1e12  # of the fit of the calibration slope

NORMAL = NormalDist()
POWER = 0.9  # how often an equal model passes on a holdout that is called large enough
MAX_BLOCKS = 400  # more add nothing to the precision of a standard error, and cost time and memory
MIN_BLOCKS = 10  # with fewer blocks the standard error itself is too uncertain
MIN_VALID_SHARE = 0.9  # smallest share of resamples on which a metric is defined (which hold both classes, say)


@dataclass(frozen=True)
class Metric:
    """A metric; `greater_is_better` is None if a value in between is best (such a metric has bounds, but no margin)."""

    prepare: Prepare
    greater_is_better: bool | None

    def __call__(self, label: Targets, score: Floats) -> float:
        """Return the metric over all rows of `label`, shape (N,), and `score`, shape (N,) or (N, width)."""
        prepared = self.prepare(label, score.astype(np.float64), np.zeros(len(label), np.int64))
        return float(prepared(np.ones((1, 1)))[0])


def by_rows(metric: Callable[[Targets, Floats, Floats], float]) -> Prepare:
    """Return a metric's `prepare` for a plain function of label, score and row weight, of N rows each."""

    def prepare(label: Targets, score: Floats, block: Ints) -> Callable[[Floats], Floats]:
        return lambda weights: np.array([metric(label, score, weight[block]) for weight in weights])

    return prepare


def mean(term: Callable[[Targets, Floats], Floats]) -> Prepare:
    """Return a metric's `prepare` for the mean over rows of `term`, which returns one value a row."""

    def prepare(label: Targets, score: Floats, block: Ints) -> Callable[[Floats], Floats]:
        total, rows = np.bincount(block, term(label, score)), np.bincount(block)
        return lambda weights: ratio(weights[:, : len(rows)] @ total, weights[:, : len(rows)] @ rows)

    return prepare


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return the quotients; NaN if the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def ece(label: Bools, score: Floats, weight: Floats) -> float:
    """Return the expected calibration error: mean |share of positives - mean score| over 15 bins of equal mass.

    Equal scores share a bin in whatever order they come, so a bin can be heavier than the others. NaN if a score is NaN
    or the weights sum to 0. Naeini, Cooper & Hauskrecht 2015.
    """
    total = weight.sum()
    if not total or np.isnan(score).any():
        return float("nan")
    _, value = np.unique(score, return_inverse=True)
    mass = np.bincount(value, weight)
    middle = np.cumsum(mass) - mass / 2
    bins = np.minimum(CALIBRATION_BINS * middle / total, CALIBRATION_BINS - 1).astype(np.int64)[value]
    return float(np.abs(np.bincount(bins, weight * (label - score))).sum() / total)


def slope(label: Bools, score: Floats, weight: Floats) -> float:
    """Return the calibration slope b in P(label) = sigmoid(a + b logit(score)); 1 is right, less is overconfident.

    Fitted by Newton's method. NaN if there is nothing to fit: constant or NaN scores, one class, or classes that the
    score separates perfectly. Cox 1958.
    """
    if not np.isfinite(score).all():
        return float("nan")
    eps = np.finfo(np.float32).eps
    score = np.clip(score, eps, 1 - eps)
    design = np.stack([np.ones_like(score), np.log(score / (1 - score))])
    fit = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        expected = (1 + np.tanh(fit @ design / 2)) / 2  # the logistic function, without its overflow
        curvature = (design * (weight * expected * (1 - expected))) @ design.T
        if np.linalg.cond(curvature) > MAX_CONDITION:
            break
        step = np.linalg.solve(curvature, design @ (weight * (label - expected)))
        fit += step
        if np.abs(step).max() < NEWTON_TOLERANCE:
            return float(fit[1])
    return float("nan")


def jensen_shannon(counts: NDArray[Any], reference: NDArray[Any]) -> Floats:
    """Return the Jensen-Shannon distances, 0 to 0.83, of counts of shape (..., bins): shape (...), NaN if one is empty.

    The square root of the divergence in natural logarithms (Endres & Schindelin 2003), as in Evidently and SciPy.
    """
    with np.errstate(invalid="ignore"):
        p, q = (side / side.sum(axis=-1, keepdims=True) for side in (counts, reference))
    middle = (p + q) / 2
    divergence = (_kullback_leibler(p, middle) + _kullback_leibler(q, middle)) / 2
    distance: Floats = np.sqrt(np.maximum(divergence, 0))
    return distance


def _kullback_leibler(p: Floats, q: Floats) -> Floats:
    """Return the Kullback-Leibler divergence; a bin that is empty in `p` adds nothing."""
    quotient = np.divide(p, q, out=np.ones(np.broadcast_shapes(p.shape, q.shape)), where=(p > 0) | np.isnan(p))
    total: Floats = (p * np.log(quotient)).sum(axis=-1)
    return total


def merged(block: NDArray[Any], seed: int) -> Ints:
    """Return blocks numbered from 0, of which at most `MAX_BLOCKS` are left: more are united at random, whole.

    Blocks are independent of each other, so groups of blocks are too, and a resample of the groups has the same
    standard error in expectation (the grouped jackknife's argument; Efron 1982, section 2.2).
    """
    _, number = np.unique(block, return_inverse=True)
    blocks = int(number.max(initial=-1)) + 1
    if blocks <= MAX_BLOCKS:
        return number
    group: Ints = np.random.default_rng(seed).permutation(blocks) % MAX_BLOCKS
    return group[number]


def draw(blocks: int, resamples: int, seed: int) -> Floats:
    """Return how often each block is drawn: shape (1 + resamples, blocks); the first row is the holdout as it is."""
    rng = np.random.default_rng(seed)
    times = rng.multinomial(blocks, np.full(blocks, 1 / blocks), resamples)
    return np.vstack([np.ones(blocks), times]).astype(np.float64)


@dataclass(frozen=True)
class Difference:
    """By how much the challenger is worse (negative: better), and the standard error of that."""

    champion: float
    challenger: float
    worse_by: float
    error: float
    blocks: int

    def at_most(self, confidence: float) -> float:
        """Return the upper one-sided bound of `worse_by`."""
        return self.worse_by + _student(confidence, self.blocks - 1) * self.error

    def at_least(self, confidence: float) -> float:
        """Return the lower one-sided bound of `worse_by`."""
        return self.worse_by - _student(confidence, self.blocks - 1) * self.error

    def p_value(self, margin: float) -> float:
        """Return the p-value of this difference under the hypothesis that the challenger is at most `margin` worse."""
        if self.error == 0:
            return float(self.worse_by <= margin)
        return 1 - NORMAL.cdf(_normal((self.worse_by - margin) / self.error, self.blocks - 1))

    def blocks_needed(self, margin: float, confidence: float) -> int:
        """Return how many blocks like these show an equal model to be within `margin`, nine times out of ten."""
        z = NORMAL.inv_cdf(confidence) + NORMAL.inv_cdf(POWER)
        return max(math.ceil(self.blocks * (z * self.error / margin) ** 2), MIN_BLOCKS)


def difference(
    metric: Metric, label: Targets, scores: Sequence[Floats], block: Ints, weights: Floats
) -> Difference | None:
    """Compare `scores` (champion, challenger) of N rows on resamples of the blocks of the rows.

    Return None if there are too few blocks, or the metric is NaN on the rows or on too many resamples.
    """
    blocks = int(np.count_nonzero(np.bincount(block)))
    champion, challenger = (metric.prepare(label, score, block)(weights) for score in scores)
    worse = champion - challenger if metric.greater_is_better else challenger - champion
    resampled = worse[1:][np.isfinite(worse[1:])]
    if blocks < MIN_BLOCKS or not np.isfinite(worse[0]) or len(resampled) < MIN_VALID_SHARE * len(weights[1:]):
        return None
    error = resampled.std(ddof=1) * math.sqrt(blocks / (blocks - 1))
    return Difference(float(champion[0]), float(challenger[0]), float(worse[0]), float(error), blocks)


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Return which hypotheses are rejected at a family-wise error rate of `level` (Holm 1979)."""
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > level / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def _normal(t: float, freedom: int) -> float:
    """Return the standard normal value as likely as `t` under Student's t, to about 0.1 % (Wallace 1959)."""
    return math.copysign(math.sqrt(freedom * math.log1p(t * t / freedom)) * _wallace(freedom), t)


def _student(confidence: float, freedom: int) -> float:
    """Return the quantile of Student's t, by Wallace's approximation."""
    z = NORMAL.inv_cdf(confidence) / _wallace(freedom)
    return math.copysign(math.sqrt(freedom * math.expm1(z * z / freedom)), z)


def _wallace(freedom: int) -> float:
    return (8 * freedom + 1) / (8 * freedom + 3)
