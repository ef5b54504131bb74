"""How far windows of the champion's own history lie from the rest of it: what is usual is no drift.

Windows are runs of whole blocks (days), for what rows of a day share is no evidence, and each is compared with the
reference without it. A threshold holds for a family of columns together: what is exceeded by chance is the largest of
their distances, each in units of its own spread (the max-T of Westfall & Young 1993).

A history has few windows that do not overlap, so chance may make them look alike. Hence no threshold is below that of
windows whose rows are drawn independently from the history's distribution (the parametric bootstrap of Efron 1979).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...settings.drift import Distance
from .counts import Counts, Ints
from .distance import jensen_shannon

Floats = NDArray[np.float64]
SMALLEST, LARGEST_SHARE = 250, 2  # rows of a window; the longest is half of the history


def sizes(rows: int) -> list[int]:
    """Rows of the windows that are calibrated: each twice the one before."""
    found = [SMALLEST]
    while found[-1] * 2 <= rows // LARGEST_SHARE:
        found.append(found[-1] * 2)
    return found


def thresholds(counts: Counts, families: Mapping[str, list[str]], policy: Distance) -> dict[str, list[float]]:
    """Give for each column the distance that a window of each of `sizes` stays within, but for a share `level`."""
    rng, apart = np.random.default_rng(policy.seed), np.random.default_rng([policy.seed, 1])
    found: dict[str, list[float]] = {name: [] for family in families.values() for name in family}
    total = int(counts.rows.sum())
    for rows in sizes(total):
        chosen = _windows(counts.rows, rows, policy.draws, rng)
        for family in families.values():
            seen = np.stack([_distances(counts.columns[name], chosen, rows, rng) for name in family], axis=1)
            drawn = np.stack([_drawn(counts.columns[name], rows, policy.draws, apart) for name in family], axis=1)
            limits = np.maximum(_limits(seen, policy), _limits(drawn, policy))
            for name, limit in zip(family, limits, strict=True):
                found[name].append(round(float(limit), 6))
    return found


def limit(limits: list[float], rows: int, window: int) -> float:
    """Give the threshold for a window of so many rows, between the sizes that were calibrated for `rows` of history."""
    return float(np.interp(np.log(max(window, 1)), np.log(sizes(rows)), limits))


def _windows(rows: Ints, wanted: int, draws: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose runs of blocks that hold about `wanted` rows, shape (draws, blocks)."""
    length = min(max(1, round(wanted / rows.mean())), max(1, len(rows) // LARGEST_SHARE))
    starts = rng.integers(0, len(rows) - length + 1, draws)[:, None]
    place = np.arange(len(rows))
    chosen: NDArray[np.bool_] = (place >= starts) & (place < starts + length)
    return chosen


def _distances(counts: Ints, chosen: NDArray[np.bool_], wanted: int, rng: np.random.Generator) -> Floats:
    """Distance of each window, thinned to `wanted` rows, from all other blocks; shape (draws,)."""
    inside = chosen @ counts
    outside = counts.sum(axis=0) - inside
    many = inside.sum(axis=1) > wanted
    shares = inside[many] / inside[many].sum(axis=1, keepdims=True)
    inside[many] = rng.multinomial(wanted, shares)
    return np.nan_to_num(jensen_shannon(inside, outside))


def _drawn(counts: Ints, rows: int, draws: int, rng: np.random.Generator) -> Floats:
    """Distance of windows and references of independent rows from one and the same distribution; shape (draws,)."""
    total = counts.sum(axis=0)
    shares = total / total.sum()
    return jensen_shannon(rng.multinomial(rows, shares, draws), rng.multinomial(int(total.sum()), shares, draws))


def _limits(seen: Floats, policy: Distance) -> Floats:
    """From distances, shape (draws, columns), to one limit a column, none below the floor."""
    centre, spread = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-9)
    worst = ((seen - centre) / spread).max(axis=1)
    limits: Floats = np.maximum(centre + np.quantile(worst, 1 - policy.level) * spread, policy.floor)
    return limits
