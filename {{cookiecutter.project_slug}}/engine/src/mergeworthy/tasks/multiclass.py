"""Multi-class classification: the task `MultiClass`, and the metrics of predicted probabilities of K classes.

A target is the number of its class, from 0, in the order of `classes`; a score of a row is its K probabilities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import UserError
from ..plots import BLUE, ORANGE, Plot, Series
from ..stats import Floats, Ints, Metric, Prepare, Targets, by_rows, ece, mean, ratio
from ..text import DASH
from .base import NUMBER, Kind, Rates, Schema, Strings, Task, by_halves, json_object, with_champion
from .binary import CALIBRATION_BINS, EPS, TENTHS, rank_auc

CLASS, CONFIDENCE = "(class)", "(confidence)"
TOP, MANY_CLASSES = 5, 10  # with more than ten classes, whether the right one is among the first five says more
SHOWN_CLASSES = 20  # in a plot or a table
SUM_TOLERANCE = 1e-3  # of the sum of a row's probabilities, which are float32


def _log_loss(label: Ints, score: Floats) -> Floats:
    return _undefined(score, -np.log(np.clip(_of_target(label, score), EPS, 1)))


def _brier(label: Ints, score: Floats) -> Floats:
    total: Floats = np.square(score).sum(axis=1) - 2 * _of_target(label, score) + 1
    return total


def _accuracy(label: Ints, score: Floats) -> Floats:
    return _undefined(score, (score.argmax(axis=1) == label).astype(np.float64))


def _top(label: Ints, score: Floats) -> Floats:
    """Return if the right class is among the `TOP` most probable ones; it comes last of equally probable ones."""
    rank = (score >= _of_target(label, score)[:, None]).sum(axis=1)
    return _undefined(score, (rank <= TOP).astype(np.float64))


def _of_target(label: Ints, score: Floats) -> Floats:
    of_target: Floats = np.take_along_axis(score, label[:, None], axis=1)[:, 0]
    return of_target


def _undefined(score: Floats, value: Floats) -> Floats:
    """Return the values, NaN if a row's scores are: `argmax` takes NaN for the highest."""
    return np.where(np.isnan(score).any(axis=1), np.nan, value)


def _by_class(statistic: Callable[[Floats, Floats, Floats], Floats]) -> Prepare:
    """Return the `prepare` of a mean over classes.

    `statistic` takes hits, predictions and rows of each class, shape (resamples, K) each, and returns NaN for a class
    that does not count.
    """

    def prepare(label: Ints, score: Floats, block: Ints) -> Callable[[Floats], Floats]:
        classes, blocks = score.shape[1], int(block.max(initial=-1)) + 1
        predicted = score.argmax(axis=1)
        hit = predicted == label
        counts = [
            np.bincount(block[rows] * classes + of[rows], minlength=blocks * classes).reshape(blocks, classes)
            for of, rows in ((label, hit), (predicted, ...), (label, ...))
        ]
        defined = np.nan if np.isnan(score).any() else 1.0

        def value(weights: Floats) -> Floats:
            values = statistic(*(weights[:, :blocks] @ count for count in counts))
            present = np.isfinite(values)
            return defined * ratio(np.where(present, values, 0).sum(axis=1), present.sum(axis=1).astype(np.float64))

        return value

    return prepare


def _recall(hits: Floats, predictions: Floats, rows: Floats) -> Floats:  # noqa: ARG001 - as `_f1`
    return ratio(hits, rows)


def _f1(hits: Floats, predictions: Floats, rows: Floats) -> Floats:
    return ratio(2 * hits, predictions + rows)


def _top_label_ece(label: Ints, score: Floats, weight: Floats) -> float:
    return ece(score.argmax(axis=1) == label, score.max(axis=1), weight)


def _classwise_ece(label: Ints, score: Floats, weight: Floats) -> float:
    """Return the mean over classes of the calibration error of each class against the others (Kull et al. 2019)."""
    return float(np.mean([ece(label == number, column, weight) for number, column in enumerate(score.T)]))


METRICS = {
    "log_loss": Metric(mean(_log_loss), greater_is_better=False),
    "accuracy": Metric(mean(_accuracy), greater_is_better=True),
    "balanced_accuracy": Metric(_by_class(_recall), greater_is_better=True),
    "macro_f1": Metric(_by_class(_f1), greater_is_better=True),
    "brier": Metric(mean(_brier), greater_is_better=False),
    "ece": Metric(by_rows(_top_label_ece), greater_is_better=False),
    "classwise_ece": Metric(by_rows(_classwise_ece), greater_is_better=False),
}
TOP_METRIC = {f"top_{TOP}": Metric(mean(_top), greater_is_better=True)}


@dataclass(frozen=True)
class MultiClass(Task):
    """Multi-class classification: `target` is one of `classes` as text, or null if it is not known.

    The model's output has the shape (N, K): the probability of each class, in the order of `classes`.
    """

    classes: tuple[str, ...]

    expectation = "one of the classes that MultiClass(classes=…) names"
    validity = "probabilities from 0 to 1 that sum to 1"
    guess_words = "the classes' shares in training"
    single_input_metric = "mean AUC of the classes"
    plots_explained = (
        "in _Confidence_ the bars should end at the line: of the rows answered with a probability of 0.8, eight in ten "
        "should be right. _Recall_ is the share of each class's rows that is answered right."
    )
    drift_margins: ClassVar[Mapping[str, float | str]] = MappingProxyType({"log_loss": "10%"})

    def __post_init__(self) -> None:
        """Raise `UserError` unless there are at least two classes, each a text, none twice."""
        object.__setattr__(self, "classes", tuple(self.classes))
        if wrong := [name for name in self.classes if not isinstance(name, str)]:
            raise UserError(f"MultiClass(classes=…): expected texts, got {wrong[0]!r}: write it in quotes")
        if len(self.classes) < 2 or len({*self.classes}) < len(self.classes):
            raise UserError(f"MultiClass(classes=…): expected at least two different names, got {self.classes!r}")

    @property
    def target_type(self) -> pl.DataType:
        """Type of a valid target in a table."""
        return pl.String()

    @property
    def width(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """Log loss, accuracy, balanced accuracy, macro F1, Brier score, calibration; top 5 of more than ten classes."""
        return METRICS | TOP_METRIC if self.width > MANY_CLASSES else METRICS

    def wrong_targets(self, name: str, dtype: pl.DataType) -> pl.Expr | None:
        """Return which values are none of the classes; whole numbers count as their text."""
        value = pl.col(name)
        if dtype not in (pl.String, pl.Categorical, pl.Enum) and not dtype.is_integer():
            return value.is_not_null()
        return value.is_not_null() & ~value.cast(pl.String).is_in(self.classes)

    def cast(self, column: pl.Expr) -> pl.Expr:
        """Return targets as texts."""
        return column.cast(pl.String)

    def targets(self, column: pl.Series) -> Targets:
        """Return the number of each target's class, shape (N,)."""
        numbers = column.cast(pl.String).replace_strict(list(self.classes), range(self.width), return_dtype=pl.Int64)
        return numbers.to_numpy()

    def training_targets(self, column: pl.Series) -> NDArray[Any]:
        """Return the number of each target's class, shape (N,), int64."""
        return self.targets(column)

    def summary(self, target: Targets) -> dict[str, float | dict[str, float]]:
        """Return the share of each class."""
        shares = np.bincount(target, minlength=self.width) / max(len(target), 1)
        return {"class_shares": dict(zip(self.classes, shares.tolist(), strict=True))}

    def guess(self, rows: pl.LazyFrame) -> Floats | None:
        """Return the share of each class, shape (K,)."""
        counts = rows.select(self.cast(pl.col(self.target))).drop_nulls().group_by(self.target).len().collect()
        rows_of = dict(counts.iter_rows())
        shares = np.array([rows_of.get(name, 0) for name in self.classes], np.float64)
        return shares / shares.sum() if shares.sum() else None

    def invalid(self, score: Floats) -> NDArray[np.bool_]:
        """Return which rows have a probability that is NaN or outside 0 to 1, or a sum other than 1."""
        sums = np.abs(score.sum(axis=1) - 1) <= SUM_TOLERANCE
        valid: NDArray[np.bool_] = ((score >= 0) & (score <= 1)).all(axis=1) & sums
        return ~valid

    def perfect(self, target: Targets) -> Floats:
        """Return probability 1 for each target's class."""
        certain: Floats = np.eye(self.width, dtype=np.float64)[target]
        return certain

    def opposite(self, target: Targets) -> Floats:
        """Return probability 1 for the class after each target's."""
        return self.perfect((target + 1) % self.width)

    def single_input(self, target: Targets, code: Ints) -> float:
        """Return the mean of each class's AUC against the others, by one input alone; NaN with one class."""
        present = np.unique(target)
        if len(present) < 2:
            return float("nan")
        own = np.eye(self.width)[target][:, present]
        rate = by_halves(code, own, own.mean(axis=0))
        return float(np.mean([rank_auc(is_class == 1, column) for is_class, column in zip(own.T, rate.T, strict=True)]))

    def target_slices(self, target: Targets) -> Strings | None:
        """Return the name of each row's class."""
        return np.array(self.classes)[target]

    def missing_targets(self, target: Targets) -> list[str]:
        """Return the classes of which the holdout has no row."""
        rows = np.bincount(target, minlength=self.width)
        return [name for name, count in zip(self.classes, rows, strict=True) if not count]

    def plots(self, target: Targets, score: Floats, champion: Floats | None = None) -> list[Plot]:
        """Return confidence, and recall of the most frequent classes; target (N,), scores (N, K)."""
        return [_confidence_plot(target, score), _recall_plot(self.classes, target, score, champion)]

    def rates(self, target: Targets, score: Floats, champion: Floats | None, threshold: float) -> Rates:  # noqa: ARG002
        """Return rows, recall and precision of the most frequent classes, and what each is most often taken for."""
        answer, before = score.argmax(axis=1), None if champion is None else champion.argmax(axis=1)
        rows = []
        for number in _frequent(target, self.width):
            own = target == number
            taken = np.bincount(answer[own & (answer != number)], minlength=self.width)
            error = f"{self.classes[taken.argmax()]} ({taken.max():,} rows)" if taken.any() else DASH
            rates = [
                with_champion(_rate(answer, target, number), None if before is None else _rate(before, target, number)),
                _rate(target, answer, number),
            ]
            rows.append([self.classes[number], f"{int(own.sum()):,}", *rates, error])
        caption = "Answers, class by class, the most frequent first:"
        return Rates(caption, ["Class", "Rows:", "Recall:", "Precision:", "Most often taken for"], rows)

    @property
    def watched(self) -> Mapping[str, Kind]:
        """The predicted class, and its probability."""
        return {CLASS: "category", CONFIDENCE: "number"}

    def watch(self, score: Floats) -> Mapping[str, NDArray[Any]]:
        """Return the most probable class of each row, and its probability."""
        return {CLASS: np.array(self.classes, object)[score.argmax(axis=1)], CONFIDENCE: score.max(axis=1)}

    def answer(self, score: Floats) -> dict[str, Any]:
        """Return the classes, the most probable class of each row, and the probabilities of each row."""
        best = score.argmax(axis=1).tolist()
        return {
            "classes": list(self.classes),
            "predictions": [self.classes[number] for number in best],
            "probabilities": score.tolist(),
        }

    def scores(self, answer: Mapping[str, Any]) -> Floats:
        """Return the probabilities, shape (N, K)."""
        return np.asarray(answer["probabilities"], np.float64).reshape(-1, self.width)

    def answer_schema(self) -> Schema:
        """Return the JSON schema of the answer."""
        row = {"type": "array", "items": NUMBER | {"minimum": 0, "maximum": 1}}
        return json_object(
            classes={"type": "array", "items": {"type": "string"}, "const": list(self.classes)},
            predictions={"type": "array", "items": {"enum": list(self.classes)}},
            probabilities={"type": "array", "items": row | {"minItems": self.width, "maxItems": self.width}},
        )

    @property
    def answer_words(self) -> str:
        """What an answer holds."""
        return f"The most probable {self.target} of each row, and the probability of each class in the order of classes"

    @property
    def histogram_edges(self) -> list[float]:
        """Tenths from 0 to 1."""
        return TENTHS

    def observed(self, score: Floats) -> Floats:
        """Return the probability of the predicted class."""
        highest: Floats = score.max(axis=1)
        return highest


def _frequent(target: Ints, classes: int) -> list[int]:
    """Return the numbers of the most frequent classes, the first most frequent."""
    order: list[int] = np.argsort(-np.bincount(target, minlength=classes), kind="stable")[:SHOWN_CLASSES].tolist()
    return order


def _rate(answer: Ints, of: Ints, number: int) -> str:
    """Return the share of the rows that are `number` in `of` that are so in `answer` too."""
    rows = of == number
    return f"{(answer[rows] == number).mean():.1%}" if rows.any() else DASH


def _confidence_plot(target: Ints, score: Floats) -> Plot:
    """Return mean confidence and share of right answers in bins of equally many rows, least confident first."""
    confidence, right = score.max(axis=1), score.argmax(axis=1) == target
    groups = np.array_split(np.argsort(confidence, kind="stable"), min(CALIBRATION_BINS, len(confidence)))
    predicted, observed = ([float(values[group].mean()) for group in groups] for values in (confidence, right))
    tenth = range(1, len(groups) + 1)
    series = (
        Series.of("share of right answers", BLUE, tenth, observed, "bar"),
        Series.of("mean probability of the answer", ORANGE, tenth, predicted),
    )
    return Plot("confidence", "Confidence", ("tenths of the rows, by confidence", "share"), series)


def _recall_plot(classes: Sequence[str], target: Ints, score: Floats, champion: Floats | None) -> Plot:
    """Return the recall of the most frequent classes, of this model and of the champion."""
    shown = [number for number in _frequent(target, len(classes)) if (target == number).any()]
    places = range(len(shown))

    def recalls(answer: Ints) -> list[float]:
        return [float((answer[target == number] == number).mean()) for number in shown]

    series = [Series.of("this model", BLUE, places, recalls(score.argmax(axis=1)), "bar")]
    if champion is not None:
        series.append(Series.of("champion", ORANGE, places, recalls(champion.argmax(axis=1))))
    names = [classes[number] for number in shown]
    return Plot("recall", "Recall", ("class, the most frequent first", "recall"), tuple(series), ticks=names)
