"""The task `MultiClass`: its metrics against scikit-learn's own, targets, scores, and what others read of it."""

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
    top_k_accuracy_score,
)

from mergeworthy import Metric, MultiClass
from mergeworthy.errors import UserError

Floats, Ints = NDArray[np.float64], NDArray[np.int64]
NAMES = tuple("abcdefghijklm")  # more than ten, so that the first five count too
TASK = MultiClass("kind", lambda _: pl.col("kind"), classes=NAMES)
METRICS = TASK.metrics


def draw(seed: int, rows: int = 400) -> tuple[Ints, Floats]:
    """Return numbers of classes, some rare, and probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    score = rng.dirichlet(np.linspace(0.1, 0.8, len(NAMES)), rows) + 1e-5
    score /= score.sum(axis=1, keepdims=True)
    label = (np.log(score + 1e-3) + rng.gumbel(size=score.shape)).argmax(axis=1)
    return label, score


def brier(label: Ints, score: Floats, sample_weight: Floats) -> float:
    return float(np.average(np.square(score - np.eye(score.shape[1])[label]).sum(axis=1), weights=sample_weight))


REFERENCES = {
    "log_loss": lambda y, s, w: log_loss(y, s, labels=range(len(NAMES)), sample_weight=w),
    "accuracy": lambda y, s, w: accuracy_score(y, s.argmax(axis=1), sample_weight=w),
    "balanced_accuracy": lambda y, s, w: balanced_accuracy_score(y, s.argmax(axis=1), sample_weight=w),
    "macro_f1": lambda y, s, w: f1_score(y, s.argmax(axis=1), average="macro", sample_weight=w),
    "top_5": lambda y, s, w: top_k_accuracy_score(y, s, k=5, labels=range(len(NAMES)), sample_weight=w),
    "brier": brier,
}


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn_under_random_weights(name: str, seed: int) -> None:
    label, score = draw(seed)
    weight = np.random.default_rng(seed + 100).exponential(size=len(label))
    value = METRICS[name].prepare(label, score, np.arange(len(label)))(weight[None])[0]
    assert value == pytest.approx(REFERENCES[name](label, score, weight), abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_weighing_blocks_is_repeating_their_rows(name: str) -> None:
    # given rows that lie in five blocks, one of which is not drawn
    label, score = draw(1)
    block = np.random.default_rng(2).integers(0, 5, len(label))
    times = np.array([2, 0, 1, 3, 1])
    (value,) = METRICS[name].prepare(label, score, block)(times[None].astype(float))
    copies = np.repeat(np.arange(len(label)), times[block])
    assert value == pytest.approx(METRICS[name](label[copies], score[copies]), abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_a_score_that_is_not_a_number_is_never_hidden(name: str) -> None:
    label, score = draw(3)
    score[7, 2] = np.nan
    assert np.isnan(METRICS[name](label, score))


@pytest.mark.parametrize("name", METRICS)
def test_a_perfect_model_is_better_than_its_opposite(name: str) -> None:
    label, _ = draw(4)
    perfect, opposite = METRICS[name](label, TASK.perfect(label)), METRICS[name](label, TASK.opposite(label))
    assert perfect == pytest.approx(1 if METRICS[name].greater_is_better else 0, abs=1e-5)
    assert (perfect > opposite) == METRICS[name].greater_is_better


def test_the_calibration_error_is_the_gap_that_was_put_in() -> None:
    # given probabilities that are right, and the same ones sharpened
    rng = np.random.default_rng(5)
    score = rng.dirichlet([2.0, 2.0, 2.0], 100_000)
    label = (score.cumsum(axis=1) < rng.random((len(score), 1))).sum(axis=1)
    sharp = score**3 / (score**3).sum(axis=1, keepdims=True)
    for name in ("ece", "classwise_ece"):
        assert METRICS[name](label, score) < 0.01
        assert METRICS[name](label, sharp) > 0.1


def test_the_first_five_count_with_more_than_ten_classes() -> None:
    assert "top_5" in METRICS
    assert "top_5" not in MultiClass("kind", TASK.label, classes=NAMES[:10]).metrics


def test_targets_are_numbers_of_classes_in_their_order() -> None:
    task = MultiClass("digit", TASK.label, classes=("0", "1", "2"))
    assert task.targets(pl.Series(["2", "0"])).tolist() == [2, 0]
    assert task.targets(pl.Series([2, 0])).tolist() == [2, 0]
    assert task.summary(np.array([2, 0, 2, 2])) == {"class_shares": {"0": 0.25, "1": 0.0, "2": 0.75}}
    assert task.guess(pl.LazyFrame({"digit": ["2", "0", None, "2", "2"]})).tolist() == [0.25, 0, 0.75]  # type: ignore[union-attr]
    assert task.guess(pl.LazyFrame({"digit": pl.Series([None], dtype=pl.String)})) is None
    assert task.missing_targets(np.array([2, 0, 2])) == ["1"]


@pytest.mark.parametrize(
    ("values", "wrong"),
    [(["0", None, "3"], ["3"]), ([0, 1, 7], [7]), ([0.0, 1.0], [0.0, 1.0]), ([True], [True]), ([" 0"], [" 0"])],
)
def test_what_is_none_of_the_classes_is_named(values: list[object], wrong: list[object]) -> None:
    task, rows = MultiClass("digit", TASK.label, classes=("0", "1")), pl.DataFrame({"digit": values})
    expression = task.wrong_targets("digit", rows.schema["digit"])
    assert expression is not None
    assert rows.filter(expression)["digit"].to_list() == wrong


@pytest.mark.parametrize(
    ("row", "valid"),
    [
        ([0.2, 0.8], True),
        ([0.2, 0.8004], True),  # float32 sums
        ([0.2, 0.9], False),
        ([-0.1, 1.1], False),
        ([np.nan, 1.0], False),
        ([np.inf, 0.0], False),
    ],
)
def test_probabilities_are_valid_if_they_sum_to_one(row: list[float], *, valid: bool) -> None:
    task = MultiClass("digit", TASK.label, classes=("0", "1"))
    assert task.invalid(np.array([row])).tolist() == [not valid]


@pytest.mark.parametrize("classes", [(), ("one",), ("a", "b", "a"), (0, 1), ["a", None]])
def test_classes_are_at_least_two_different_texts(classes: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"^MultiClass\(classes=…\): expected"):
        MultiClass("kind", TASK.label, classes=classes)


def test_an_answer_holds_the_scores() -> None:
    _, score = draw(6, 5)
    answer = TASK.answer(score)
    assert answer["predictions"] == [NAMES[number] for number in score.argmax(axis=1)]
    assert TASK.scores(answer).tolist() == score.tolist()
    assert answer.keys() == TASK.answer_schema()["properties"].keys()


def test_one_input_that_gives_the_class_away_is_perfect() -> None:
    label, _ = draw(7, 2000)
    assert TASK.single_input(label, label) == pytest.approx(1, abs=0.02)
    assert TASK.single_input(label, np.zeros_like(label)) == pytest.approx(0.5, abs=0.05)
    assert TASK.single_input(label, np.arange(len(label))) == pytest.approx(0.5)  # a name memorises nothing


def test_a_single_input_is_measured_as_the_mean_auc() -> None:
    label = np.array([0, 1, 2] * 200)
    code = np.where(label == 2, 1, 0)  # tells one class of three from the others
    aucs = [1.0, *(roc_auc_score(label == number, code == 0) for number in (0, 1))]
    task = MultiClass("kind", TASK.label, classes=("a", "b", "c"))
    assert task.single_input(label, code) == pytest.approx(np.mean(aucs), abs=0.01)


def test_what_is_watched_is_the_predicted_class_and_its_probability() -> None:
    _, score = draw(8, 5)
    watched = TASK.watch(score)
    assert watched.keys() == TASK.watched.keys()
    assert watched["(class)"].tolist() == [NAMES[number] for number in score.argmax(axis=1)]
    assert watched["(confidence)"].tolist() == score.max(axis=1).tolist()


def test_a_metric_of_a_class_alone_is_its_recall() -> None:
    label, score = draw(9)
    own = label == 12
    recall = (score.argmax(axis=1) == label)[own].mean()
    measure: Metric = METRICS["balanced_accuracy"]
    assert measure(label[own], score[own]) == pytest.approx(recall)
