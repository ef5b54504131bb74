"""Binary classification: the task `Binary`, with the metrics, plots and rates of a predicted probability.

Metrics are functions of the weights of blocks of rows: see `Metric` in `stats.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..plots import BLUE, GREY, ORANGE, Plot, Series
from ..stats import Bools, Floats, Ints, Metric, Targets, by_rows, ece, mean, ratio, slope
from ..text import DASH
from .base import NUMBER, Kind, Rates, Schema, Task, by_halves, json_object, with_champion

EPS = float(np.finfo(np.float32).eps)  # resolution of a float32 score near 1: it keeps the log loss finite
SCORE = "(score)"
TENTHS = [edge / 10 for edge in range(1, 11)]


def auc(label: Bools, score: Floats, block: Ints) -> Callable[[Floats], Floats]:
    """Return the area under the ROC curve: the share of (positive, negative) pairs in the right order; ties count half.

    `label`, `score` and `block` have the shape (N,). Pairs are counted once between every two blocks, so that a
    resample is a quadratic form in the weights of the blocks.
    """
    blocks = int(block.max(initial=-1)) + 1
    order = np.argsort(score)
    label, block, ranked = label[order], block[order], score[order]
    positive = block[label]
    first = np.searchsorted(ranked, ranked[label], side="left")
    last = np.searchsorted(ranked, ranked[label], side="right")
    pairs = np.zeros((blocks, blocks))
    for negatives_block in range(blocks):
        below = np.concatenate([[0], np.cumsum(~label & (block == negatives_block))])
        pairs[:, negatives_block] = np.bincount(positive, (below[first] + below[last]) / 2, blocks)
    positives, negatives = np.bincount(positive, minlength=blocks), np.bincount(block[~label], minlength=blocks)
    defined = np.nan if np.isnan(score).any() else 1.0

    def value(weights: Floats) -> Floats:
        weights = weights[:, :blocks]
        right = ((weights @ pairs) * weights).sum(axis=1)
        return defined * ratio(right, (weights @ positives) * (weights @ negatives))

    return value


def rank_auc(label: Bools, score: Floats) -> float:
    """Return the AUC of all rows, (N,) each, from their ranks; both classes must be there."""
    _, rank, rows = np.unique(score, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(rows) - (rows - 1) / 2
    positives = int(label.sum())
    wins = mean_rank[rank][label].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * (len(label) - positives)))


def _log_loss(label: Bools, score: Floats) -> Floats:
    right: Floats = np.where(label, score, 1 - score)
    return -np.log(np.clip(right, EPS, 1))


def _brier(label: Bools, score: Floats) -> Floats:
    return np.square(score - label)


METRICS = {
    "auc": Metric(auc, greater_is_better=True),
    "log_loss": Metric(mean(_log_loss), greater_is_better=False),
    "brier": Metric(mean(_brier), greater_is_better=False),
    "ece": Metric(by_rows(ece), greater_is_better=False),
    "calibration_slope": Metric(by_rows(slope), greater_is_better=None),
}

CALIBRATION_BINS, SCORE_BINS = 10, 40


@dataclass(frozen=True)
class Binary(Task):
    """Binary classification: `target` is true, false, or null if it is not known; a score is its probability."""

    expectation = "true or false"
    validity = "probabilities, from 0 to 1"
    guess_words = "the share of positives in training"
    single_input_metric = "AUC"
    drift_margins: ClassVar[Mapping[str, float | str]] = MappingProxyType({"auc": 0.02, "log_loss": 0.03})

    plots_explained: ClassVar[str] = (
        "in _Calibration_ the bars should end at the line: then a score of 0.3 means three in ten. In _ROC_ a curve "
        "further up and left sorts better; the grey line is chance."
    )

    @property
    def target_type(self) -> pl.DataType:
        """Type of a valid target in a table."""
        return pl.Boolean()

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """AUC, log loss, Brier score, expected calibration error, calibration slope."""
        return METRICS

    def wrong_targets(self, name: str, dtype: pl.DataType) -> pl.Expr | None:
        """Return which values are neither true nor false; the numbers 0 and 1 pass too."""
        value = pl.col(name)
        if dtype == pl.Boolean:
            return None
        return value.is_not_null() & ~((value == 0) | (value == 1)) if dtype.is_numeric() else value.is_not_null()

    def cast(self, column: pl.Expr) -> pl.Expr:
        """Return targets as Booleans."""
        return column.cast(pl.Boolean)

    def targets(self, column: pl.Series) -> Targets:
        """Return targets as Booleans, shape (N,)."""
        return column.to_numpy().astype(bool)

    def summary(self, target: Targets) -> dict[str, float | dict[str, float]]:
        """Return the share of positives."""
        return {"positive_share": float(target.mean())}

    def guess(self, rows: pl.LazyFrame) -> Floats | None:
        """Return the share of positives, shape (1,)."""
        share = rows.select(pl.col(self.target).mean()).collect().item()
        return None if share is None else np.array([share], np.float64)

    def invalid(self, score: Floats) -> NDArray[np.bool_]:
        """Return which scores are NaN or outside 0 to 1."""
        valid: NDArray[np.bool_] = (score >= 0) & (score <= 1)  # NaN is neither
        return ~valid

    def perfect(self, target: Targets) -> Floats:
        """Return 1 for each positive, and 0 for each negative."""
        return target.astype(np.float64)

    def opposite(self, target: Targets) -> Floats:
        """Return 0 for each positive, and 1 for each negative."""
        return (~target).astype(np.float64)

    def single_input(self, target: Targets, code: Ints) -> float:
        """Return the AUC of one input alone, whatever the shape of its relation to the target; NaN with one class."""
        if target.all() or not target.any():
            return float("nan")
        return rank_auc(target, by_halves(code, target, float(target.mean())))

    @property
    def watched(self) -> Mapping[str, Kind]:
        """The score."""
        return {SCORE: "number"}

    def watch(self, score: Floats) -> Mapping[str, NDArray[Any]]:
        """Return the scores."""
        return {SCORE: score}

    def answer(self, score: Floats) -> dict[str, Any]:
        """Return `{"scores": [probability of each row]}`."""
        return {"scores": score.tolist()}

    def scores(self, answer: Mapping[str, Any]) -> Floats:
        """Return the probabilities, shape (N,)."""
        return np.asarray(answer["scores"], np.float64)

    def answer_schema(self) -> Schema:
        """Return the JSON schema of the answer."""
        return json_object(scores={"type": "array", "items": NUMBER | {"minimum": 0, "maximum": 1}})

    @property
    def answer_words(self) -> str:
        """What an answer holds."""
        return f"The probability of {self.target} for each row"

    @property
    def histogram_edges(self) -> list[float]:
        """Tenths from 0 to 1."""
        return TENTHS

    def observed(self, score: Floats) -> Floats:
        """Return the scores."""
        return score

    def plots(self, target: Targets, score: Floats, champion: Floats | None = None) -> list[Plot]:
        """Return calibration, ROC and scores by label; all arrays have the shape (N,)."""
        plots = [calibration_plot(target, score), roc_plot(target, score, champion), scores_plot(target, score)]
        return [plot for plot in plots if plot]

    def rates(self, target: Targets, score: Floats, champion: Floats | None, threshold: float) -> Rates:
        """Return the confusion table of answers that are yes from `threshold` on, and below it their rates."""
        yes = score >= threshold
        before = None if champion is None else champion >= threshold

        def rate(of: Callable[[Bools], tuple[Bools, Bools]]) -> str:
            return with_champion(_share(*of(yes)), None if before is None else _share(*of(before)))

        def counts(rows: Bools) -> list[str]:
            return [f"{int((rows & yes).sum()):,}", f"{int((rows & ~yes).sum()):,}"]

        rates = (
            f"Recall {rate(lambda answer: (answer, target))}",
            f"precision {rate(lambda answer: (target, answer))}",
            f"false alarms {rate(lambda answer: (answer, ~target))}",
        )
        rows = [["Is yes", *counts(target)], ["Is no", *counts(~target)]]
        caption = f"Answers, if a score from {threshold:g} on is a yes (`report.threshold` in gates.yaml):"
        return Rates(caption, ["", "Answered yes:", "Answered no:"], rows, f"{'; '.join(rates)}.")


def calibration_plot(label: Bools, score: Floats) -> Plot:
    """Return mean score and share of positives in bins of equally many rows, lowest scores first."""
    groups = np.array_split(np.argsort(score, kind="stable"), min(CALIBRATION_BINS, len(score)))
    predicted, observed = ([float(values[group].mean()) for group in groups] for values in (score, label))
    tenth = range(1, len(groups) + 1)
    series = (
        Series.of("what happened: share of positives", BLUE, tenth, observed, "bar"),
        Series.of("what was predicted: mean score", ORANGE, tenth, predicted),
    )
    return Plot("calibration", "Calibration", ("tenths of the rows, by score", "share of positives"), series)


def roc_plot(label: Bools, score: Floats, champion: Floats | None = None) -> Plot | None:
    """Return the ROC curve of the model, and of the champion if its scores are given; None if there is one class."""
    if label.all() or not label.any():
        return None
    series = [Series.of("chance", GREY, [0, 1], [0, 1])]
    if champion is not None:
        series.append(Series.of("champion (hidden if both agree)", ORANGE, *_roc(label, champion)))
    series.append(Series.of("this model", BLUE, *_roc(label, score)))
    return Plot("roc", "ROC", ("false positive rate", "true positive rate"), tuple(series))


def _roc(label: Bools, score: Floats) -> tuple[Floats, Floats]:
    """Return false and true positive rates, from (0, 0) to (1, 1)."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=np.inf))  # equal scores are one step, a diagonal
    hits, alarms = np.cumsum(label[order])[last], np.cumsum(~label[order])[last]
    false, true = (np.concatenate([[0.0], counts / counts[-1]]) for counts in (alarms, hits))
    return false, true


def scores_plot(label: Bools, score: Floats) -> Plot:
    """Return the distribution of scores of each class."""
    edges = np.linspace(0, 1, SCORE_BINS + 1)
    series = []
    for rows, name, colour in ((~label, "negative", BLUE), (label, "positive", ORANGE)):
        counts, _ = np.histogram(score[rows], edges)
        share = counts / max(int(rows.sum()), 1)
        series.append(Series.of(f"{name} ({rows.sum():,} rows)", colour, (edges[1:] + edges[:-1]) / 2, share))
    return Plot("scores", "Scores by label", ("score", "share of the rows of that label"), tuple(series), comment=False)


def _share(part: Bools, whole: Bools) -> str:
    """Return the share of the rows of `whole` that are in `part`, both of shape (N,)."""
    return f"{(part & whole).sum() / whole.sum():.1%}" if whole.any() else DASH
