"""What is usual is told right: by nothing but chance in small windows, in all that must agree, and for rare values."""

import numpy as np
import polars as pl
import pytest

from mergeworthy.config.gates import Distance
from mergeworthy.reference import Counts, count, learn, limit, sizes, thresholds

POLICY = Distance(floor=0.001, level=0.05)


def history(days: int = 180, rows: int = 300) -> Counts:
    """Days that are all the same distribution of ten bins."""
    drawn = np.random.default_rng(0).multinomial(rows, np.full(10, 0.1), (2, days))
    return Counts([f"{day:03}" for day in range(days)], {"a": drawn[0], "b": drawn[1]})


def found(policy: Distance = POLICY, persistence: int = 2) -> list[float]:
    return thresholds(history(), {"inputs": ["a", "b"]}, policy, persistence)["a"]


def test_a_part_of_a_window_lies_no_further_than_so_many_rows_by_themselves() -> None:
    # given days of 300 rows / when windows of 250 are looked at, then distances are those of 250 independent rows
    rng = np.random.default_rng(1)
    rows = rng.multinomial(250, np.full(10, 0.1), 4000) / 250
    middle = (rows + 0.1) / 2
    kl = [np.where(p > 0, p * np.log(np.maximum(p, 1e-12) / middle), 0).sum(axis=1) for p in (rows, np.full(10, 0.1))]
    alone = np.sqrt((kl[0] + kl[1]) / 2)
    # one column of two, in one window
    assert found(persistence=1)[0] == pytest.approx(np.quantile(alone, 0.975), rel=0.1)


def test_windows_that_must_agree_are_held_to_less_each() -> None:
    one, two = (found(persistence=windows)[:3] for windows in (1, 2))  # of the largest, two make half of the history
    assert all(less < more for less, more in zip(two, one, strict=True))


def test_between_sizes_the_limit_falls_with_the_root_of_the_rows() -> None:
    assert sizes(10_000) == [250, 1_000, 4_000]
    assert limit([0.08, 0.04, 0.02], 10_000, 500) == pytest.approx(0.04 * 2**0.5)
    assert limit([0.08, 0.04, 0.02], 10_000, 50_000) == 0.02  # the largest that was looked at


def test_as_many_values_are_new_as_the_history_lets_expect() -> None:
    # given a column most of whose values come once or twice
    rng = np.random.default_rng(0)
    before, now = (pl.DataFrame({"day": [1] * 5000, "tail": rng.integers(0, 5000, 5000)}) for _ in range(2))
    before, now = (rows.with_columns(pl.col("tail").cast(pl.String)) for rows in (before, now))
    # when rows from the same distribution come, then the share of new values is the one of the reference
    bins = learn(before.lazy(), {"tail": "category"})
    expected = count([before], bins, "day", of_reference=True).columns["tail"][0, -1]
    found = count([now], bins, "day").columns["tail"][0, -1]
    assert found == pytest.approx(5000 / np.e, rel=0.05)
    assert expected == pytest.approx(found, rel=0.05)
