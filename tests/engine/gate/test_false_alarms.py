"""Error rates of the comparison over many simulated months: 27,000 flights, 30 days, champion and slices together.

`pytest -s …/gate/test_false_alarms.py` prints the shares.
"""

from dataclasses import replace

import numpy as np
import pytest

from mergeworthy import stats
from mergeworthy.config.gates import Gates
from mergeworthy.gate import comparison
from mergeworthy.gate.comparison import PairedComparison, Strings, judge_overall
from mergeworthy.stats import Floats
from mergeworthy.verdict import worst

MONTHS, PER_DAY, DAYS = 200, 900, 30
RULES = Gates.model_validate(
    {
        "floors": {"auc": {"min": 0.65}},
        "beats_baseline": ["auc"],
        "champion": {"margins": {"auc": 0.01, "log_loss": 0.01}},
        "slices": {"columns": ["carrier", "origin", "hour"], "metric": "log_loss", "margin": 0.03, "minimum_rows": 500},
        "bootstrap": {"block": "date", "resamples": 400},
        "cost": {"model_mb": 1, "latency_p95_ms": 10},
    }
)
CARRIERS = np.array([20, 18, 15, 12, 10, 8, 6, 4, 3, 2, 0.9, 0.5, 0.3, 0.15, 0.1, 0.05]) / 100  # six are small
NAMES = np.arange(24).astype(str)
ONE_MARGIN, TWO_MARGINS = 0.111, 0.221  # additional errors that cost 0.01 and 0.02 of AUC


def month(seed: int, worse: float = 0.0, days: int = DAYS) -> tuple[PairedComparison, dict[str, Strings]]:
    """Return a simulated month: two models observe the cause of delays with errors, partly shared by a day's flights.

    The challenger's errors are larger by `worse`; both models are calibrated. AUC is about 0.75.
    """
    rng, rows = np.random.default_rng(seed), days * PER_DAY
    day = np.arange(rows) // PER_DAY
    truth = rng.normal(size=rows) + rng.normal(scale=0.7, size=days)[day]

    def score(error: float) -> Floats:
        observed = truth + rng.normal(scale=error, size=rows) + rng.normal(scale=error / 5, size=days)[day]
        return sigmoid(observed * 1.49 / (1.49 + 1.04 * error**2) - 1.3)

    label = rng.random(rows) < sigmoid(truth - 1.3)
    columns = {
        "carrier": NAMES[rng.choice(len(CARRIERS), rows, p=CARRIERS)],
        "origin": NAMES[rng.integers(0, 3, rows)],
        "hour": NAMES[rng.integers(5, 22, rows)],
    }
    weights = stats.draw(days, resamples=400, seed=seed)
    return PairedComparison(label, score(0.6), score(0.6 + worse), day, weights), columns


def sigmoid(logit: Floats) -> Floats:
    return 1 / (1 + np.exp(-logit))


def blocked(worse: float = 0.0) -> float:
    """Return the share of months in which a check blocks."""
    count = 0
    for seed in range(MONTHS):
        pair, columns = month(seed, worse)
        checks = [*judge_overall(pair, RULES)[0], *comparison.judge_slices(pair, columns, RULES)[0]]
        count += worst(checks) == "block"
    print(f"errors larger by {worse:.3f}: blocked in {count / MONTHS:.1%} of {MONTHS} months")
    return count / MONTHS


def test_an_equal_model_is_blocked_in_at_most_one_month_of_twenty() -> None:
    assert blocked() <= 0.05


def test_a_model_worse_by_two_margins_is_blocked() -> None:
    assert blocked(TWO_MARGINS) >= 0.95


def test_a_model_worse_by_the_margin_rarely_passes() -> None:
    assert blocked(ONE_MARGIN) >= 0.91  # 95 %, less the sampling error of 200 months


@pytest.mark.parametrize(("upside_down", "names"), [(["10"], ["10"]), (["11", "12", "13", "14", "15"], ["11", "12"])])
def test_small_slices_that_are_upside_down_are_blocked_by_name(upside_down: list[str], names: list[str]) -> None:
    # given one airline of about 243 rows, or five of 14 to 135 rows, for which the new model is upside down
    blocked_months = 0
    for seed in range(20):
        pair, columns = month(seed)
        turned = np.isin(columns["carrier"], upside_down)
        pair = replace(pair, challenger=np.where(turned, 1 - pair.challenger, pair.challenger))
        (check, *_), _ = comparison.judge_slices(pair, columns, RULES)
        blocked_months += check.result == "block" and all(f"{name} by" in check.why for name in names)
    print(f"{', '.join(upside_down)} upside down: blocked and named in {blocked_months} of 20 months")
    assert blocked_months >= 18


def test_the_number_of_days_asked_for_is_enough() -> None:
    # given twelve days and the number of days that the verdict asks for, on average
    margin, confidence = 0.01, 0.95

    def difference(seed: int, days: int) -> stats.Difference:
        measured = month(seed, days=days)[0].difference("auc")
        assert measured
        return measured

    needed = int(np.mean([difference(seed, 12).blocks_needed(margin, confidence) for seed in range(50)]))
    # then more days are asked for, and on holdouts of that size nine of ten equal models pass
    passed = np.mean([difference(seed, needed).at_most(confidence) <= margin for seed in range(MONTHS)])
    print(f"12 days ask for {needed}, of which {passed:.1%} of equal models pass")
    assert needed > 12
    assert 0.82 <= passed <= 0.97


def test_holm_rejects_in_order_of_p_values() -> None:
    assert stats.holm([0.04, 0.001, 0.03], 0.05) == [False, True, False]
    assert stats.holm([0.02, 0.001, 0.02], 0.05) == [True, True, True]
