"""The few numbers that a plot in a comment is made of."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

EPOCHS = 30  # shown of a history
Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]


def calibration(label: Bools, score: Floats, bins: int = 10) -> tuple[Floats, Floats]:
    """Give mean score and share of positives in bins of equal mass, lowest scores first; each of shape (bins,)."""
    groups = np.array_split(np.argsort(score, kind="stable"), min(bins, len(score)))
    predicted, observed = (np.array([values[group].mean() for group in groups]) for values in (score, label))
    return predicted, observed


def roc(label: Bools, score: Floats, points: int = 21) -> Floats:
    """Give the true positive rate at false positive rates from 0 to 1, evenly spaced, shape (points,).

    NaN where there is only one class.
    """
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=np.inf))  # equal scores are one step, a diagonal
    hits, alarms = np.cumsum(label[order])[last], np.cumsum(~label[order])[last]
    if not hits[-1] or not alarms[-1]:
        return np.full(points, np.nan)
    false, true = (np.concatenate([[0], counts / counts[-1]]) for counts in (alarms, hits))
    rates: Floats = np.interp(np.linspace(0, 1, points), false, true)
    return rates


def thinned(epoch: Floats, value: Floats, points: int = EPOCHS) -> Floats:
    """Give a history at no more than so many evenly spaced epochs, gaps bridged; shape (points,) or fewer."""
    known = np.isfinite(value)
    return np.interp(np.linspace(epoch[0], epoch[-1], min(points, len(epoch))), epoch[known], value[known])
