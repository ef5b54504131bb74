"""How far windows of the champion's own history lie from the rest of it: what is usual is no drift.

Windows are runs of whole blocks (days), for what rows of a day share is no evidence; as many in a row as must agree are
compared with the reference without them. A threshold holds for a family of columns together: what is exceeded by chance
is the largest of their distances, each the least of its windows, in units of its own spread (the max-T of Westfall &
Young 1993).

A history has few windows that do not overlap, so chance may make them look alike. Hence no threshold is below that of
windows whose rows are drawn independently from the history's distribution (the parametric bootstrap of Efron 1979).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..config.drift import Distance
from ..stats.distance import jensen_shannon
from .counts import Counts, Ints

Floats = NDArray[np.float64]
SMALLEST, STEP, LARGEST_SHARE = 250, 4, 2  # rows of a window; all in a row are at most half of the history


def sizes(rows: int) -> list[int]:
    """Rows of the windows that are calibrated: each four times the one before."""
    found = [SMALLEST]
    while found[-1] * STEP <= rows // LARGEST_SHARE:
        found.append(found[-1] * STEP)
    return found


def thresholds(
    counts: Counts, families: Mapping[str, list[str]], policy: Distance, persistence: int
) -> dict[str, list[float]]:
    """Give for each column the distance that some of so many windows of each of `sizes` in a row stay within."""
    rng, apart = np.random.default_rng(policy.seed), np.random.default_rng([policy.seed, 1])
    found: dict[str, list[float]] = {name: [] for family in families.values() for name in family}
    total = int(counts.rows.sum())
    for rows in sizes(total):
        chosen = _windows(counts.rows, rows, (policy.draws, persistence), rng)
        for family in families.values():
            seen = np.stack([_distances(counts.columns[name], chosen, rows, rng) for name in family], axis=-1)
            shape = chosen.shape[:2]
            drawn = np.stack([_drawn(counts.columns[name], rows, shape, apart) for name in family], axis=-1)
            limits = np.maximum(_limits(seen, policy), _limits(drawn, policy))
            for name, limit in zip(family, limits, strict=True):
                found[name].append(round(float(limit), 6))
    return found


def limit(limits: list[float], rows: int, window: int) -> float:
    """Give the threshold for a window of so many rows, between the sizes that were calibrated for `rows` of history.

    By chance alone distances fall with the root of the rows, a straight line in logarithms.
    """
    return float(np.exp(np.interp(np.log(max(window, 1)), np.log(sizes(rows)), np.log(limits))))


def _windows(rows: Ints, wanted: int, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose windows in a row that hold about `wanted` rows each, shape (draws, windows, blocks)."""
    draws, windows = shape
    length = min(max(1, round(wanted / rows.mean())), max(1, len(rows) // (windows * LARGEST_SHARE)))
    first = rng.integers(0, max(1, len(rows) - windows * length + 1), (draws, 1, 1))
    starts = first + np.arange(windows)[:, None] * length
    place = np.arange(len(rows))
    chosen: NDArray[np.bool_] = (place >= starts) & (place < starts + length)
    return chosen


def _distances(counts: Ints, chosen: NDArray[np.bool_], wanted: int, rng: np.random.Generator) -> Floats:
    """Distance of each window, thinned to `wanted` rows, from all other blocks; shape (draws, windows)."""
    inside = chosen @ counts
    outside = counts.sum(axis=0) - inside.sum(axis=1, keepdims=True)
    many = inside.sum(axis=-1) > wanted
    inside[many] = _thinned(inside[many], wanted, rng)
    return np.nan_to_num(jensen_shannon(inside, outside))


def _thinned(counts: Ints, wanted: int, rng: np.random.Generator) -> Ints:
    """Draw so many rows without replacement from each line of counts, shape (lines, bins), bin by bin."""
    left, rest = np.full(len(counts), wanted), counts.sum(axis=1)
    taken = np.empty_like(counts)
    for place, here in enumerate(counts.T):
        rest -= here
        taken[:, place] = rng.hypergeometric(here, rest, left)
        left -= taken[:, place]
    return taken


def _drawn(counts: Ints, rows: int, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Distance of windows and a reference of independent rows from one and the same distribution, as `_distances`."""
    total = counts.sum(axis=0)
    shares = total / total.sum()
    reference = rng.multinomial(int(total.sum()), shares, (shape[0], 1))
    return jensen_shannon(rng.multinomial(rows, shares, shape), reference)


def _limits(seen: Floats, policy: Distance) -> Floats:
    """From distances, shape (draws, windows, columns), to one limit a column, none below the floor."""
    centre, spread = seen.mean(axis=(0, 1)), np.maximum(seen.std(axis=(0, 1)), 1e-9)
    worst = ((seen - centre) / spread).min(axis=1).max(axis=1)  # what a rule asks: all windows, any column
    beyond = np.quantile(worst, 1 - policy.level, method="weibull")  # what one draw more exceeds in that share
    limits: Floats = np.maximum(centre + beyond * spread, policy.floor)
    return limits
