"""The task `Regression`: its metrics against scikit-learn's own, targets, scores, and what others read of it."""

import json

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.metrics import d2_absolute_error_score, mean_absolute_error, mean_pinball_loss, root_mean_squared_error
from tests.engine.registration import with_task

from mergeworthy import Regression
from mergeworthy.errors import UserError
from mergeworthy.release.verify import distance

Floats = NDArray[np.float64]
LEVELS = (0.1, 0.5, 0.9)
POINT = Regression("demand", lambda _: pl.col("demand"), unit="bikes an hour")
TASK = Regression("demand", POINT.label, unit="bikes an hour", quantiles=LEVELS)
METRICS = TASK.metrics


def draw(seed: int, rows: int = 400) -> tuple[Floats, Floats]:
    """Return targets, and scores of shape (N, 4): a number and three quantiles."""
    rng = np.random.default_rng(seed)
    number = rng.gamma(3, 20, rows)
    target = number + rng.normal(scale=15, size=rows)
    return target, number[:, None] + np.array([1.0, -19, 0, 19])


def pinball(target: Floats, score: Floats, weight: Floats) -> float:
    losses = [
        mean_pinball_loss(target, score[:, place], alpha=level, sample_weight=weight)
        for place, level in enumerate(LEVELS, 1)
    ]
    return float(np.mean(losses))


REFERENCES = {
    "mae": lambda y, s, w: mean_absolute_error(y, s[:, 0], sample_weight=w),
    "rmse": lambda y, s, w: root_mean_squared_error(y, s[:, 0], sample_weight=w),
    "bias": lambda y, s, w: np.average(s[:, 0] - y, weights=w),
    "pinball": pinball,
    "interval_coverage": lambda y, s, w: np.average((y >= s[:, 1]) & (y <= s[:, 3]), weights=w),
    "interval_width": lambda y, s, w: np.average(s[:, 3] - s[:, 1], weights=w),
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn_under_random_weights(name: str, seed: int) -> None:
    target, score = draw(seed)
    weight = np.random.default_rng(seed + 100).exponential(size=len(target))
    value = METRICS[name].prepare(target, score, np.arange(len(target)))(weight[None])[0]
    assert value == pytest.approx(REFERENCES[name](target, score, weight))


def test_skill_is_the_share_of_the_medians_error_that_is_saved() -> None:
    target, score = draw(1)
    assert METRICS["skill"](target, score) == pytest.approx(d2_absolute_error_score(target, score[:, 0]))
    assert METRICS["skill"](target, TASK.perfect(target)) == 1
    assert METRICS["skill"](target, np.full_like(score, np.median(target))) == pytest.approx(0)


@pytest.mark.parametrize("name", METRICS)
def test_weighing_blocks_is_repeating_their_rows(name: str) -> None:
    # given rows that lie in five blocks, one of which is not drawn
    target, score = draw(1)
    block = np.random.default_rng(2).integers(0, 5, len(target))
    times = np.array([2, 0, 1, 3, 1])
    (value,) = METRICS[name].prepare(target, score, block)(times[None].astype(float))
    copies = np.repeat(np.arange(len(target)), times[block])
    # then it is the same; the skill's median stays that of all rows, so that a resample is a quotient of sums
    tolerance = 0.05 if name == "skill" else 1e-9
    assert value == pytest.approx(METRICS[name](target[copies], score[copies]), abs=tolerance)


@pytest.mark.parametrize("name", METRICS)
def test_a_score_that_is_not_a_number_is_never_hidden(name: str) -> None:
    target, score = draw(3)
    score[7] = np.nan
    assert np.isnan(METRICS[name](target, score))


def test_a_point_alone_has_the_shape_of_its_rows() -> None:
    target, score = draw(4)
    assert POINT.width == 1
    assert POINT.metrics.keys() == {"mae", "rmse", "skill", "bias"}
    assert POINT.metrics["mae"](target, score[:, 0]) == METRICS["mae"](target, score)
    assert POINT.answer(score[:, 0]) == {"predictions": score[:, 0].tolist()}


def test_quantiles_may_touch_but_not_cross() -> None:
    rows = [[5, 1, 2, 3], [5, 2, 2, 2], [5, 3, 2, 4], [5, 1, 4, 3], [np.nan, 1, 2, 3], [5, 1, 2, np.inf]]
    assert TASK.invalid(np.array(rows, np.float64)).tolist() == [False, False, True, True, True, True]
    assert TASK.invalid(np.array([[1e6, 1e6, 1e6 - 1, 1e6]])).tolist() == [False]  # float32 sums


@pytest.mark.parametrize("levels", [(0.5,), (0.9, 0.1), (0.1, 0.1), (0, 0.5), (0.1, 1.0), (0.1, "0.9")])
def test_quantiles_are_levels_in_order(levels: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match=r"^Regression\(quantiles=…\): expected at least two levels"):
        Regression("demand", POINT.label, quantiles=levels)


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ([1.5, None, 2.0], []),
        ([1.5, float("nan"), float("inf")], 2),
        (["1.5"], ["1.5"]),
        ([True], [True]),
    ],
)
def test_what_is_no_finite_number_is_named(values: list[object], wrong: list[object] | int) -> None:
    rows = pl.DataFrame({"demand": values})
    expression = TASK.wrong_targets("demand", rows.schema["demand"])
    named = [] if expression is None else rows.filter(expression)["demand"].to_list()
    assert len(named) == wrong if isinstance(wrong, int) else named == wrong


def test_whole_numbers_are_targets() -> None:
    assert TASK.wrong_targets("demand", pl.Int32()) is None
    assert TASK.targets(pl.Series([1, 2])).tolist() == [1.0, 2.0]


def test_the_constant_guess_is_the_median_and_the_quantiles() -> None:
    guess = TASK.guess(pl.LazyFrame({"demand": [*range(101), None]}))
    assert guess is not None
    assert guess.tolist() == [50, 10, 50, 90]
    assert TASK.guess(pl.LazyFrame({"demand": pl.Series([None], dtype=pl.Float64)})) is None


def test_an_answer_holds_the_scores() -> None:
    _, score = draw(6, 5)
    answer = TASK.answer(score)
    assert answer["quantiles"].keys() == {"0.1", "0.5", "0.9"}
    assert TASK.scores(answer).tolist() == score.tolist()
    assert answer.keys() == TASK.answer_schema()["properties"].keys()


def test_an_answer_of_the_service_is_compared_number_by_number() -> None:
    # given an answer, and predictions of which one quantile is 1 of 1,000 apart, or of which a row is missing
    _, score = draw(6, 5)
    score[2, 3] = 1000
    answer = json.dumps(TASK.answer(score))
    apart = score.copy()
    apart[2, 3] = 1001
    with with_task(TASK):
        assert distance(answer, score) == 0
        assert distance(answer, apart) == pytest.approx(1 / 1001)
        assert distance(answer, score[:4]) == float("inf")


def test_one_input_that_gives_the_target_away_is_perfect() -> None:
    target, _ = draw(7, 2000)
    code = np.searchsorted(np.quantile(target, np.linspace(0, 1, 101)), target)
    assert TASK.single_input(target, code) > 0.98
    assert TASK.single_input(target, np.arange(len(target))) == pytest.approx(0, abs=0.01)  # memorises nothing
    assert np.isnan(TASK.single_input(np.ones(10), np.arange(10)))


def test_what_is_watched_is_the_number_and_the_width_of_the_interval() -> None:
    _, score = draw(8, 5)
    watched = TASK.watch(score)
    assert watched.keys() == TASK.watched.keys() == {"(prediction)", "(interval width)"}
    assert watched["(interval width)"].tolist() == [38.0] * 5
    assert POINT.watched.keys() == POINT.watch(score[:, 0]).keys() == {"(prediction)"}
