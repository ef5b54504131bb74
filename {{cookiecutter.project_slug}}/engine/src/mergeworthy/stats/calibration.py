"""Whether a score of 0.3 comes true three times in ten."""

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

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
