"""Binary classification: the task `Binary`, with the metrics, plots and rates of a predicted probability.

Metrics are functions of the weights of blocks of rows: see `Metric` in `stats.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..plots import BLUE, GREY, ORANGE, Plot, Series
from ..stats import Metric, by_rows, ece, mean, ratio, slope

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SCORE_DIGITS = 7  # of an answer and in the log; a float32 has no more
EPS = float(np.finfo(np.float32).eps)  # resolution of a float32 score near 1: it keeps the log loss finite


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
DASH = "\u2013"


@dataclass(frozen=True)
class Binary:
    """Binary classification: `target` is a column of the features, true, false, or null if it is not known.

    `label` takes the parameters, and returns the same as an expression of the main table's columns. The gate evaluates
    it on the table itself, to check that the features have every labelled row.
    """

    target: str
    label: Callable[[Any], pl.Expr]
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS, init=False)

    answer_schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"scores": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}}},
        "required": ["scores"],
        "additionalProperties": False,
    }
    """JSON schema of what the service answers."""

    def answer(self, scores: NDArray[np.float32]) -> dict[str, Any]:
        """Return what the service answers for scores of shape (N,): the probability of the label for each row."""
        return {"scores": _rounded(scores)}

    def logged(self, scores: NDArray[np.float32]) -> dict[str, list[float]]:
        """Return the columns, of N values each, by which the prediction log keeps an answer."""
        return {"score": _rounded(scores)}

    baseline_explained: ClassVar[str] = "a model that gives every row the share of positives seen in training"
    plots_explained: ClassVar[str] = (
        "in _Calibration_ the bars should end at the line: then a score of 0.3 means three in ten. In _ROC_ a curve "
        "further up and left sorts better; the grey line is chance."
    )

    def plots(self, label: Bools, score: Floats, champion: Floats | None = None) -> list[Plot]:
        """Return calibration, ROC and scores by label; label, score and the champion's scores have the shape (N,)."""
        plots = [calibration_plot(label, score), roc_plot(label, score, champion), scores_plot(label, score)]
        return [plot for plot in plots if plot]

    def rates(self, label: Bools, score: Floats, champion: Floats | None, threshold: float) -> list[list[str]]:
        """Return the confusion table of answers that are yes from `threshold` on: a header and its rows.

        Each row ends with a rate, the last row holds those of the columns; the champion's stand in parentheses.
        """
        yes = score >= threshold
        before = None if champion is None else champion >= threshold

        def rate(of: Callable[[Bools], tuple[Bools, Bools]]) -> str:
            shares = [_share(*of(answer)) for answer in (yes, before) if answer is not None]
            return shares[0] + (f" (champion {shares[1]})" if len(shares) > 1 else "")

        def counts(rows: Bools) -> list[str]:
            return [f"{int((rows & yes).sum()):,}", f"{int((rows & ~yes).sum()):,}"]

        return [
            ["", "Answered yes:", "Answered no:", "Rate"],
            ["Is yes", *counts(label), f"recall {rate(lambda answer: (answer, label))}"],
            ["Is no", *counts(~label), f"false alarms {rate(lambda answer: (answer, ~label))}"],
            ["", f"precision {rate(lambda answer: (label, answer))}", f"missed {rate(lambda a: (label, ~a))}", ""],
        ]


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


def _rounded(scores: NDArray[np.float32]) -> list[float]:
    values: list[float] = scores.astype(np.float64).round(SCORE_DIGITS).tolist()
    return values
