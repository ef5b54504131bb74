"""The metrics against scikit-learn's own, and what a bootstrap relies on."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from mergeworthy import Metric
from mergeworthy.tasks.binary import METRICS

Floats = NDArray[np.float64]


def slope_by_sklearn(label: Floats, score: Floats, sample_weight: Floats) -> float:
    logit = np.log(score / (1 - score)).reshape(-1, 1)
    fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit, label, sample_weight)
    return float(fit.coef_[0, 0])


REFERENCES = {
    "auc": roc_auc_score,
    "log_loss": log_loss,
    "brier": brier_score_loss,
    "calibration_slope": slope_by_sklearn,
}


def draw(seed: int, rows: int = 300) -> tuple[NDArray[np.bool_], Floats]:
    """Labels and scores that know something of them, coarse enough to hold many ties."""
    rng = np.random.default_rng(seed)
    score = np.clip(np.round(rng.beta(2, 3, rows), 2), 0.01, 0.99)
    return rng.random(rows) < score**1.5, score


def weighted(metric: Metric, label: NDArray[np.bool_], score: Floats, weight: Floats) -> float:
    """Each row a block of its own."""
    return float(metric.prepare(label, score, np.arange(len(label)))(weight[None])[0])


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn_under_random_weights(name: str, seed: int) -> None:
    label, score = draw(seed)
    weight = np.random.default_rng(seed + 100).exponential(size=len(label))
    expected = REFERENCES[name](label, score, sample_weight=weight)
    assert weighted(METRICS[name], label, score, weight) == pytest.approx(
        expected, abs=1e-4 if "slope" in name else 1e-9
    )


@pytest.mark.parametrize("name", METRICS)
def test_weighing_blocks_is_repeating_their_rows(name: str) -> None:
    # given rows that lie in five blocks, the last of which is not drawn
    label, score = draw(1)
    block = np.random.default_rng(2).integers(0, 5, len(label))
    times = np.array([2, 0, 1, 3, 1, 7])
    # when the blocks are weighed, and when their rows are copied
    (value,) = METRICS[name].prepare(label, score, block)(times[None].astype(float))
    copies = np.repeat(np.arange(len(label)), times[block])
    # then it is the same
    assert value == pytest.approx(METRICS[name](label[copies], score[copies]), abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_a_score_that_is_not_a_number_is_never_hidden(name: str) -> None:
    label, score = draw(3)
    score[7] = np.nan
    assert np.isnan(METRICS[name](label, score))


@pytest.mark.parametrize("name", ["auc", "calibration_slope"])
def test_one_class_alone_cannot_be_told(name: str) -> None:
    _, score = draw(4)
    assert np.isnan(METRICS[name](np.ones(len(score), bool), score))


def test_a_constant_score_orders_nothing() -> None:
    label, score = draw(5)
    constant = np.full_like(score, label.mean())
    assert METRICS["auc"](label, constant) == 0.5
    assert METRICS["ece"](label, constant) == pytest.approx(0)
    assert np.isnan(METRICS["calibration_slope"](label, constant))


def test_ece_is_the_gap_that_was_put_in() -> None:
    # given a score that is right, and the same one shifted by 0.1
    rng = np.random.default_rng(6)
    score = rng.uniform(0.05, 0.8, 200_000)
    label = rng.random(len(score)) < score
    # then the first is near 0 and the second near 0.1
    assert METRICS["ece"](label, score) < 0.01
    assert METRICS["ece"](label, score + 0.1) == pytest.approx(0.1, abs=0.01)


def test_overconfidence_halves_the_slope() -> None:
    # given logits doubled
    rng = np.random.default_rng(7)
    logit = rng.normal(-1, 1, 100_000)
    label = rng.random(len(logit)) < 1 / (1 + np.exp(-logit))
    # then the slope that mends them is a half
    assert METRICS["calibration_slope"](label, 1 / (1 + np.exp(-2 * logit))) == pytest.approx(0.5, abs=0.02)


def test_a_float32_score_of_exactly_one_costs_a_finite_loss() -> None:
    wrong = METRICS["log_loss"](np.array([False]), np.array([1.0], np.float32))
    assert 10 < wrong < 20
