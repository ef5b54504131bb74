"""Error rates of the comparison for classes and for numbers, over many simulated months of 27,000 rows.

`pytest -s …/gate/test_other_false_alarms.py` prints the shares. As in `test_false_alarms`, both models observe a cause
with errors, which are partly shared by a day's rows; the challenger's may be larger.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from tests.engine.gate.other_tasks import MULTI_CLASS, REGRESSION, B, Sample, W
from tests.engine.gate.test_false_alarms import CARRIERS, DAYS, NAMES, PER_DAY
from tests.engine.registration import with_task

from mergeworthy import MultiClass, Regression, Task, stats
from mergeworthy.config.gates import Gates
from mergeworthy.gate import comparison
from mergeworthy.gate.comparison import PairedComparison, Strings
from mergeworthy.stats import Floats, Targets
from mergeworthy.verdict import worst

Answer = Callable[[Floats, float], Floats]
MONTHS = 100
ERROR, VARIANCE = 0.6, 1.49  # of what both models observe, and of its cause
TASKS: dict[str, Task] = {
    MULTI_CLASS.name: MultiClass("kind", lambda _: NotImplemented, classes=("early", "on time", "long")),
    REGRESSION.name: Regression("minutes", lambda _: NotImplemented, quantiles=(0.1, 0.9)),
}
# By how much larger errors cost two margins of the first metric: log loss 0.04, or a tenth of the MAE.
TWO_MARGINS = {MULTI_CLASS.name: 0.2, REGRESSION.name: 0.145}
EACH = pytest.mark.parametrize("sample", [MULTI_CLASS, REGRESSION], ids=lambda sample: sample.name)


@pytest.fixture(autouse=True)
def _registered(sample: Sample) -> Iterator[None]:
    with with_task(TASKS[sample.name]):
        yield


def month(
    sample: Sample, seed: int, worse: float = 0.0, days: int = DAYS
) -> tuple[PairedComparison, dict[str, Strings]]:
    """Return a simulated month of targets, and the scores of both models."""
    rng, rows = np.random.default_rng(seed), days * PER_DAY
    day = np.arange(rows) // PER_DAY
    cause = rng.normal(size=rows) + rng.normal(scale=0.7, size=days)[day]

    def observed(error: float) -> Floats:
        noisy = cause + rng.normal(scale=error, size=rows) + rng.normal(scale=error / 5, size=days)[day]
        return noisy * VARIANCE / (VARIANCE + 1.04 * error**2)

    target, answer = (classes if sample is MULTI_CLASS else numbers)(cause, rng)
    pair = answer(observed(ERROR), ERROR), answer(observed(ERROR + worse), ERROR + worse)
    names = {
        "carrier": NAMES[rng.choice(len(CARRIERS), rows, p=CARRIERS)],
        "origin": NAMES[rng.integers(0, 3, rows)],
    }
    return PairedComparison(target, *pair, day, stats.draw(days, resamples=400, seed=seed)), names


def classes(cause: Floats, rng: np.random.Generator) -> tuple[Targets, Answer]:
    """Return classes drawn by the softmax of the cause, and a model that gives the softmax of what it observed."""

    def answer(observed: Floats, error: float) -> Floats:
        odds = np.exp(np.outer(observed, W) + B)
        shares: Floats = odds / odds.sum(axis=1, keepdims=True)
        return shares

    logits = np.outer(cause, W) + B
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=1), answer


def numbers(cause: Floats, rng: np.random.Generator) -> tuple[Targets, Answer]:
    """Return numbers linear in the cause, and a model that knows how wrong it is."""

    def answer(observed: Floats, error: float) -> Floats:
        unexplained = VARIANCE * 1.04 * error**2 / (VARIANCE + 1.04 * error**2)
        number, spread = 30 + 20 * observed, 1.2816 * np.sqrt(10**2 + 20**2 * unexplained)
        return np.stack([number, number - spread, number + spread], axis=1)

    return 30 + 20 * cause + rng.normal(scale=10, size=len(cause)), answer


def blocked(sample: Sample, worse: float = 0.0) -> float:
    """Return the share of months in which a check blocks."""
    rules, count = Gates.model_validate(sample.gates), 0
    for seed in range(MONTHS):
        pair, columns = month(sample, seed, worse)
        checks = [
            *comparison.judge_overall(pair, rules)[0],
            *comparison.judge_slices(pair, columns, rules)[0],
            *comparison.judge_target_slices(pair, rules)[0],
        ]
        count += worst(checks) == "block"
    print(f"{sample.name}, errors larger by {worse:.3f}: blocked in {count / MONTHS:.1%} of {MONTHS} months")
    return count / MONTHS


@EACH
def test_an_equal_model_is_blocked_in_at_most_one_month_of_twenty(sample: Sample) -> None:
    assert blocked(sample) <= 0.05


@EACH
def test_a_model_worse_by_two_margins_is_blocked(sample: Sample) -> None:
    assert blocked(sample, TWO_MARGINS[sample.name]) >= 0.95
