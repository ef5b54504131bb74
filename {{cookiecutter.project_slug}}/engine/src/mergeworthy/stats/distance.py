"""How far apart two distributions are: the Jensen-Shannon distance, as Evidently and SciPy give it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
