"""Thresholds: right for small windows, for windows that must agree, and for rare values."""

import numpy as np
import polars as pl
import pytest

from mergeworthy.config.gates import Distance
from mergeworthy.reference import Counts, count, learn, limit, sizes, thresholds

POLICY = Distance(floor=0.001, level=0.05)


def history(days: int = 180, rows: int = 300) -> Counts:
    """Return counts of days that are all drawn from one distribution of ten bins."""
    drawn = np.random.default_rng(0).multinomial(rows, np.full(10, 0.1), (2, days))
    return Counts([f"{day:03}" for day in range(days)], {"a": drawn[0], "b": drawn[1]})


def calibrated(policy: Distance = POLICY, persistence: int = 2) -> list[float]:
    """Return the thresholds of column `a`, one for each window size."""
    return thresholds(history(), {"inputs": ["a", "b"]}, policy, persistence)["a"]


def test_a_thinned_window_lies_no_further_than_as_many_independent_rows() -> None:
    # given days of 300 rows / when windows of 250 rows are calibrated, then distances are those of independent rows
    rng = np.random.default_rng(1)
    rows = rng.multinomial(250, np.full(10, 0.1), 4000) / 250
    middle = (rows + 0.1) / 2
    kl = [np.where(p > 0, p * np.log(np.maximum(p, 1e-12) / middle), 0).sum(axis=1) for p in (rows, np.full(10, 0.1))]
    independent = np.sqrt((kl[0] + kl[1]) / 2)
    # one column of two, in one window
    assert calibrated(persistence=1)[0] == pytest.approx(np.quantile(independent, 0.975), rel=0.1)


def test_windows_that_must_agree_have_lower_thresholds() -> None:
    # two of the largest windows make half of the history, so that size is left out
    single, both = (calibrated(persistence=windows)[:3] for windows in (1, 2))
    assert all(lower < higher for lower, higher in zip(both, single, strict=True))


def test_between_sizes_the_limit_falls_with_the_root_of_the_rows() -> None:
    assert sizes(10_000) == [250, 1_000, 4_000]
    assert limit([0.08, 0.04, 0.02], 10_000, 500) == pytest.approx(0.04 * 2**0.5)
    assert limit([0.08, 0.04, 0.02], 10_000, 50_000) == 0.02  # that of the largest size


def test_the_share_of_new_values_is_the_one_that_the_history_predicts() -> None:
    # given a column in which most values come once or twice
    rng = np.random.default_rng(0)
    before, now = (pl.DataFrame({"day": [1] * 5000, "tail": rng.integers(0, 5000, 5000)}) for _ in range(2))
    before, now = (rows.with_columns(pl.col("tail").cast(pl.String)) for rows in (before, now))
    # when rows from the same distribution come, then the share of new values is the one of the reference
    bins = learn(before.lazy(), {"tail": "category"})
    expected = count([before], bins, "day", of_reference=True).columns["tail"][0, -1]
    observed = count([now], bins, "day").columns["tail"][0, -1]
    assert observed == pytest.approx(5000 / np.e, rel=0.05)
    assert expected == pytest.approx(observed, rel=0.05)
