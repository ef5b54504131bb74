"""How sure a difference between two models is, when rows of the same day are not independent.

Both models are measured on the same resamples of whole blocks (a paired block bootstrap; Künsch 1989), so that what is
hard for both cancels. The bootstrap gives the standard error; bounds come from Student's t with blocks - 1 degrees of
freedom, because a month has only thirty days and percentiles of a bootstrap of thirty are too narrow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from .metric import Metric

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

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
