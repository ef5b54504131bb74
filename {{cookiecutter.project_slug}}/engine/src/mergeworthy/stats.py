"""Statistics by numpy alone: metrics as functions of block weights, calibration, distances, and a block bootstrap."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

# DOC stats.metric: A figure of merit, as a function of the weights of blocks of rows. A bootstrap draws whole blocks
# (days) thousands of times. What a metric needs of a block is therefore summed up once, by `prepare(label, score,
# block)`, blocks numbered from 0; the closure that it returns takes weights, shape (resamples, blocks), and returns
# values, shape (resamples,). If a metric is not defined (a score is NaN, only one class) its value is NaN. Another
# metric needs no such care: `by_rows(f)` makes one of any `f(label, score, weight) -> float` that scikit-learn would
# accept as a metric with sample weights.

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


# DOC stats.calibration: Whether a score of 0.3 comes true three times in ten.

BINS = 15
STEPS, TOLERANCE, FLAT = 50, 1e-9, 1e12  # of Newton's method


def ece(label: Bools, score: Floats, weight: Floats) -> float:
    """Give the expected calibration error: mean |share of positives - mean score| over 15 bins of equal mass.

    Equal scores share a bin whatever their order, so a bin can be heavier than the others. NaN where a score is NaN or
    the weights sum to 0. Naeini, Cooper & Hauskrecht 2015.
    """
    total = weight.sum()
    if not total or np.isnan(score).any():
        return float("nan")
    _, value = np.unique(score, return_inverse=True)
    mass = np.bincount(value, weight)
    middle = np.cumsum(mass) - mass / 2
    bins = np.minimum(BINS * middle / total, BINS - 1).astype(np.int64)[value]
    return float(np.abs(np.bincount(bins, weight * (label - score))).sum() / total)


def slope(label: Bools, score: Floats, weight: Floats) -> float:
    """Fit the calibration slope: b in P(label) = sigmoid(a + b logit(score)); 1 is right, less overconfident. Cox 1958.

    Fitted by Newton's method. NaN where there is nothing to fit: constant or NaN scores, one class, or classes that the
    score separates altogether.
    """
    if not np.isfinite(score).all():
        return float("nan")
    eps = np.finfo(np.float32).eps
    score = np.clip(score, eps, 1 - eps)
    design = np.stack([np.ones_like(score), np.log(score / (1 - score))])
    fit = np.zeros(2)
    for _ in range(STEPS):
        expected = (1 + np.tanh(fit @ design / 2)) / 2  # the logistic function, without its overflow
        curvature = (design * (weight * expected * (1 - expected))) @ design.T
        if np.linalg.cond(curvature) > FLAT:
            break
        step = np.linalg.solve(curvature, design @ (weight * (label - expected)))
        fit += step
        if np.abs(step).max() < TOLERANCE:
            return float(fit[1])
    return float("nan")


# DOC stats.distance: How far apart two distributions are: the Jensen-Shannon distance, as Evidently and SciPy give
# it.


def jensen_shannon(one: NDArray[Any], other: NDArray[Any]) -> Floats:
    """Give the distances, between 0 and 0.83, of counts of shape (..., bins): shape (...), NaN where one is empty.

    The square root of the divergence in natural logarithms (Endres & Schindelin 2003).
    """
    with np.errstate(invalid="ignore"):
        p, q = (counts / counts.sum(axis=-1, keepdims=True) for counts in (one, other))
    middle = (p + q) / 2
    distance: Floats = np.sqrt(np.maximum((_relative(p, middle) + _relative(q, middle)) / 2, 0))
    return distance


def _relative(p: Floats, q: Floats) -> Floats:
    """Kullback-Leibler divergence; a bin that `p` lacks adds nothing."""
    ratio = np.divide(p, q, out=np.ones(np.broadcast_shapes(p.shape, q.shape)), where=(p > 0) | np.isnan(p))
    total: Floats = (p * np.log(ratio)).sum(axis=-1)
    return total


# DOC stats.bootstrap: How sure a difference between two models is, when rows of the same day are not independent.
# Both models are measured on the same resamples of whole blocks (a paired block bootstrap; Künsch 1989), so that what
# is hard for both cancels. The bootstrap gives the standard error; bounds come from Student's t with blocks - 1
# degrees of freedom, because a month has only thirty days and percentiles of a bootstrap of thirty are too narrow.

NORMAL = NormalDist()
POWER = 0.9  # how often an equal model is to be recognised as such on a holdout that is called large enough
FEWEST = 10  # blocks; with fewer the standard error itself is not known
TOLD = 0.9  # smallest share of resamples on which a metric can be told, e.g. which hold both classes


def draw(blocks: int, resamples: int, seed: int) -> Floats:
    """Draw how often each block is taken: shape (1 + resamples, blocks); the first row is the holdout as it is."""
    rng = np.random.default_rng(seed)
    taken = rng.multinomial(blocks, np.full(blocks, 1 / blocks), resamples)
    return np.vstack([np.ones(blocks), taken]).astype(np.float64)


@dataclass(frozen=True)
class Difference:
    """By how much the challenger is worse (negative: better), and the standard error of that."""

    champion: float
    challenger: float
    worse_by: float
    error: float
    blocks: int

    def at_most(self, confidence: float) -> float:
        """Upper one-sided bound of `worse_by`."""
        return self.worse_by + _student(confidence, self.blocks - 1) * self.error

    def at_least(self, confidence: float) -> float:
        """Lower one-sided bound of `worse_by`."""
        return self.worse_by - _student(confidence, self.blocks - 1) * self.error

    def chance(self, margin: float) -> float:
        """Give the p-value of what was seen if the challenger were in truth no more than `margin` worse."""
        if self.error == 0:
            return float(self.worse_by <= margin)
        return 1 - NORMAL.cdf(_normal((self.worse_by - margin) / self.error, self.blocks - 1))

    def blocks_needed(self, margin: float, confidence: float) -> int:
        """How many blocks like these show an equal model to be within `margin`, nine times out of ten."""
        z = NORMAL.inv_cdf(confidence) + NORMAL.inv_cdf(POWER)
        return max(math.ceil(self.blocks * (z * self.error / margin) ** 2), FEWEST)


def difference(
    metric: Metric, label: Bools, scores: Sequence[Floats], block: Ints, weights: Floats
) -> Difference | None:
    """Compare `scores` (champion, challenger), each of shape (N,), on resamples of the blocks of the rows.

    None where it cannot be told: too few blocks, or a metric that is NaN on the rows or on too many resamples.
    """
    blocks = int(np.count_nonzero(np.bincount(block)))
    champion, challenger = (metric.prepare(label, score, block)(weights) for score in scores)
    worse = champion - challenger if metric.greater_is_better else challenger - champion
    resampled = worse[1:][np.isfinite(worse[1:])]
    if blocks < FEWEST or not np.isfinite(worse[0]) or len(resampled) < TOLD * len(weights[1:]):
        return None
    error = resampled.std(ddof=1) * math.sqrt(blocks / (blocks - 1))
    return Difference(float(champion[0]), float(challenger[0]), float(worse[0]), float(error), blocks)


def shown(chances: Sequence[float], level: float) -> list[bool]:
    """Tell which p-values hold, when at most a share `level` of such families may hold a false one (Holm 1979)."""
    held = [False] * len(chances)
    for rank, index in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if chances[index] > level / (len(chances) - rank):
            break
        held[index] = True
    return held


def _normal(t: float, freedom: int) -> float:
    """Give the standard normal value as likely as `t` under Student's t, to about 0.1 % (Wallace 1959)."""
    return math.copysign(math.sqrt(freedom * math.log1p(t * t / freedom)) * _wallace(freedom), t)


def _student(confidence: float, freedom: int) -> float:
    z = NORMAL.inv_cdf(confidence) / _wallace(freedom)
    return math.copysign(math.sqrt(freedom * math.expm1(z * z / freedom)), z)


def _wallace(freedom: int) -> float:
    return (8 * freedom + 1) / (8 * freedom + 3)
