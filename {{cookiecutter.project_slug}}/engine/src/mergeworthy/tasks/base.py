"""The interface `Task`: all that depends on what is predicted. The rest of the engine calls it and knows no task.

A prediction of N rows is an array of scores: shape (N,) if a row gets one number, or else (N, width). In a table the
scores are one column, of the type `score_type`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..plots import Plot
from ..stats import Floats, Ints, Metric, Targets

Strings = NDArray[np.str_]
Kind = Literal["number", "category"]
Schema = dict[str, Any]  # a JSON schema

NUMBER: Schema = {"type": "number"}


@dataclass(frozen=True)
class Task(ABC):
    """What is predicted: the column `target` of the features, and everything that follows from its kind.

    `label` takes the parameters, and returns the target as an expression of the main table's columns. The gate
    evaluates it on the table itself, to check that the features have every labelled row. An unknown target is null.
    """

    target: str
    label: Callable[[Any], pl.Expr]

    expectation: ClassVar[str]
    """What a target is, such as "true or false"."""
    validity: ClassVar[str]
    """What scores are, such as "probabilities, from 0 to 1"."""
    guess_words: ClassVar[str]
    """What a constant guess is, such as "the share of positives in training"."""
    single_input_metric: ClassVar[str]
    """Name of what `single_input` measures."""
    plots_explained: ClassVar[str]
    """How to read the plots, in Markdown, for whoever is new to them."""
    drift_margins: ClassVar[Mapping[str, float | str]]
    """How much worse than on its holdout a champion may become, by metric, unless gates.yaml says it."""

    @property
    @abstractmethod
    def target_type(self) -> pl.DataType:
        """Type of a valid target in a table."""

    @property
    def width(self) -> int:
        """Numbers that a model gives for one row."""
        return 1

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Metric]:
        """The task's metrics by name."""

    @cached_property
    def score_type(self) -> pl.DataType:
        """Type of the column of scores: a number, or an array of `width` numbers."""
        return pl.Float32() if self.width == 1 else pl.Array(pl.Float32, self.width)

    # Targets

    @abstractmethod
    def wrong_targets(self, name: str, dtype: pl.DataType) -> pl.Expr | None:
        """Return which values of a column are no valid targets; None if the type says that all are valid."""

    @abstractmethod
    def cast(self, column: pl.Expr) -> pl.Expr:
        """Return valid targets in the type `target_type`."""

    @abstractmethod
    def targets(self, column: pl.Series) -> Targets:
        """Return valid targets, of which none is null, as the array that metrics take, shape (N,)."""

    def training_targets(self, column: pl.Series) -> NDArray[Any]:
        """Return targets as the array that training takes, shape (N,): float32, or int64 for numbers of classes."""
        return self.targets(column).astype(np.float32)

    @abstractmethod
    def summary(self, target: Targets) -> dict[str, float | dict[str, float]]:
        """Return what describes the targets of the holdout in `reports/metrics.json`."""

    @abstractmethod
    def guess(self, rows: pl.LazyFrame) -> Floats | None:
        """Return the best constant score, shape (width,), from the training rows; None if no target is known."""

    # Scores

    @abstractmethod
    def invalid(self, score: Floats) -> NDArray[np.bool_]:
        """Return which rows have a score that cannot be, shape (N,)."""

    @abstractmethod
    def perfect(self, target: Targets) -> Floats:
        """Return the scores of a model that is always right."""

    @abstractmethod
    def opposite(self, target: Targets) -> Floats:
        """Return the scores of a model that is as wrong as can be."""

    @abstractmethod
    def single_input(self, target: Targets, code: Ints) -> float:
        """Return how well one input alone predicts the target; higher is better, and 1 is perfect.

        `code` numbers the input's values from 0, shape (N,). Each half of the rows is predicted from the other half, so
        that an input of many values, such as a name, gains nothing by memorising them.
        """

    def target_slices(self, target: Targets) -> Strings | None:  # noqa: ARG002 - tasks override it
        """Return the slice of the holdout that each row belongs to by its target; None if targets make no slices."""
        return None

    def missing_targets(self, target: Targets) -> list[str]:  # noqa: ARG002 - tasks override it
        """Return what can be a target and is none of the holdout's, such as a class; no result if all occur."""
        return []

    # Report

    @abstractmethod
    def plots(self, target: Targets, score: Floats, champion: Floats | None = None) -> list[Plot]:
        """Return the plots of N rows; with the champion's scores if they are given."""

    @abstractmethod
    def rates(self, target: Targets, score: Floats, champion: Floats | None, threshold: float) -> "Rates | None":
        """Return the table of right and wrong answers of N rows; None if the task has none.

        A score from `threshold` on is a yes, for tasks that answer yes or no.
        """

    # Monitoring and service

    @property
    @abstractmethod
    def watched(self) -> Mapping[str, Kind]:
        """What the drift check watches of predictions: name → kind. A name in parentheses is no column of data."""

    @abstractmethod
    def watch(self, score: Floats) -> Mapping[str, NDArray[Any]]:
        """Return the watched values, each of shape (N,)."""

    @abstractmethod
    def answer(self, score: Floats) -> dict[str, Any]:
        """Return the body of the service's answer."""

    @abstractmethod
    def scores(self, answer: Mapping[str, Any]) -> Floats:
        """Return the scores in a body of the service's answer."""

    @abstractmethod
    def answer_schema(self) -> Schema:
        """Return the JSON schema of the service's answer."""

    @property
    @abstractmethod
    def answer_words(self) -> str:
        """What an answer holds, in a sentence of the API's description."""

    @property
    @abstractmethod
    def histogram_edges(self) -> list[float]:
        """Inner edges of the service's histogram of `observed`."""

    @abstractmethod
    def observed(self, score: Floats) -> Floats:
        """Return one number for each row, shape (N,), for the service's histogram."""


@dataclass(frozen=True)
class Rates:
    """A table of right and wrong answers, with a sentence above it and one below it in Markdown."""

    caption: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""


def with_champion(rate: str, champion: str | None) -> str:
    """Return a rate, with the champion's in parentheses if there is one."""
    return rate if champion is None else f"{rate} (champion {champion})"


def by_halves(code: Ints, values: NDArray[Any], prior: NDArray[Any] | float) -> Floats:
    """Return for each row the mean of `values` over the rows of the other half with the same code.

    `values` has the shape (N,) or (N, K), as the result. A code that the other half lacks has the mean `prior`.
    """
    columns = values.reshape(len(code), -1).astype(np.float64)
    half, codes = np.arange(len(code)) % 2, int(code.max(initial=0)) + 1
    means = np.empty_like(columns)
    for number in (0, 1):
        scored, counted = half == number, half != number
        rows = np.bincount(code[counted], minlength=codes)[:, None]
        sums = np.stack([np.bincount(code[counted], column[counted], minlength=codes) for column in columns.T], axis=1)
        means[scored] = ((sums + prior) / (rows + 1))[code[scored]]
    return means.reshape(values.shape)


def json_object(**properties: Schema) -> Schema:
    """Return the JSON schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
