"""Regression: the task `Regression`, and the metrics of a predicted number, with quantiles or without.

A score of a row is the number; with quantiles, the number and then each quantile, in the order of their levels.
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
from ..plots import BLUE, GREY, ORANGE, Plot, Series
from ..stats import Floats, Ints, Metric, Prepare, Targets, mean, ratio
from ..text import MINUS
from .base import NUMBER, Kind, Rates, Schema, Task, by_halves, json_object, with_champion

PREDICTION, WIDTH = "(prediction)", "(interval width)"
TENTHS, FIFTHS, ERROR_BINS = 10, 5, 40
CROSSING_TOLERANCE = 1e-5  # by which a quantile may be below the one before, as a share of the larger: float32 sums
EDGES = [sign * 10.0**power for sign, powers in ((-1, range(6, -2, -1)), (1, range(-1, 7))) for power in powers]


def _number(score: Floats) -> Floats:
    """Return the predicted numbers, shape (N,)."""
    return score if score.ndim == 1 else score[:, 0]


def _absolute(target: Floats, score: Floats) -> Floats:
    return np.abs(_number(score) - target)


def _excess(target: Floats, score: Floats) -> Floats:
    return _number(score) - target


def _rmse(target: Floats, score: Floats, block: Ints) -> Callable[[Floats], Floats]:
    squares = mean(lambda target, score: np.square(_excess(target, score)))(target, score, block)
    return lambda weights: np.sqrt(squares(weights))


def _skill(target: Floats, score: Floats, block: Ints) -> Callable[[Floats], Floats]:
    """Return 1 less the mean absolute error in units of that of the rows' own median, the best constant in hindsight.

    Both errors are sums over blocks, so that a resample is a quotient of two weighted sums.
    """
    centre = np.median(target) if len(target) else np.nan
    error, constant = np.bincount(block, _absolute(target, score)), np.bincount(block, np.abs(target - centre))
    blocks = len(error)
    return lambda weights: 1 - ratio(weights[:, :blocks] @ error, weights[:, :blocks] @ constant)


METRICS = {
    "mae": Metric(mean(_absolute), greater_is_better=False),
    "rmse": Metric(_rmse, greater_is_better=False),
    "skill": Metric(_skill, greater_is_better=True),
    "bias": Metric(mean(_excess), greater_is_better=None),
}


def _pinball(levels: Sequence[float]) -> Prepare:
    """Return the mean pinball loss over the quantiles (Koenker & Bassett 1978)."""
    level = np.array(levels)

    def term(target: Floats, score: Floats) -> Floats:
        below = target[:, None] - score[:, 1:]
        loss: Floats = np.maximum(level * below, (level - 1) * below).mean(axis=1)
        return loss

    return mean(term)


def _covered(target: Floats, score: Floats) -> Floats:
    inside = (target >= score[:, 1]) & (target <= score[:, -1])
    return np.where(np.isnan(score).any(axis=1), np.nan, inside.astype(np.float64))


def _width(target: Floats, score: Floats) -> Floats:  # noqa: ARG001 - a term takes both
    between: Floats = score[:, -1] - score[:, 1]
    return between


@dataclass(frozen=True)
class Regression(Task):
    """Regression: `target` is a number, or null if it is not known; `unit` names it, such as "bikes an hour".

    Without `quantiles` the model's output has the shape (N,) or (N, 1). With quantiles, such as (0.1, 0.9), it has the
    shape (N, 1 + quantiles): the number, and then each quantile.
    """

    unit: str = ""
    quantiles: tuple[float, ...] = ()

    expectation = "a finite number"
    validity = "finite numbers, and quantiles that do not cross"
    guess_words = "the median in training"
    single_input_metric = "R²"
    plots_explained = (
        "in _Predicted and actual_ the bars should end at the line. _Errors_ should be narrow and centred at 0."
    )
    drift_margins: ClassVar[Mapping[str, float | str]] = MappingProxyType({"mae": "10%"})

    def __post_init__(self) -> None:
        """Raise `UserError` unless the quantiles are none, or at least two levels between 0 and 1 in their order."""
        object.__setattr__(self, "quantiles", tuple(self.quantiles))
        levels = self.quantiles
        valid = all(isinstance(level, float) and 0 < level < 1 for level in levels)
        if not valid or list(levels) != sorted({*levels}) or len(levels) == 1:
            raise UserError(
                f"Regression(quantiles=…): expected at least two levels between 0 and 1, lowest first, got {levels!r}"
            )

    @property
    def target_type(self) -> pl.DataType:
        """Type of a valid target in a table."""
        return pl.Float64()

    @property
    def width(self) -> int:
        """The number, and the quantiles."""
        return 1 + len(self.quantiles)

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """Mean absolute error, root mean square error, skill, bias; with quantiles pinball loss, coverage and width."""
        if not self.quantiles:
            return METRICS
        return METRICS | {
            "pinball": Metric(_pinball(self.quantiles), greater_is_better=False),
            "interval_coverage": Metric(mean(_covered), greater_is_better=None),
            "interval_width": Metric(mean(_width), greater_is_better=False),
        }

    def wrong_targets(self, name: str, dtype: pl.DataType) -> pl.Expr | None:
        """Return which values are not finite numbers."""
        value = pl.col(name)
        if dtype.is_integer():
            return None
        return value.is_not_null() & ~value.is_finite() if dtype.is_float() else value.is_not_null()

    def cast(self, column: pl.Expr) -> pl.Expr:
        """Return targets as floats."""
        return column.cast(pl.Float64)

    def targets(self, column: pl.Series) -> Targets:
        """Return targets as floats, shape (N,)."""
        return column.cast(pl.Float64).to_numpy()

    def summary(self, target: Targets) -> dict[str, float | dict[str, float]]:
        """Return the mean of the target."""
        return {"target_mean": float(target.mean())}

    def guess(self, rows: pl.LazyFrame) -> Floats | None:
        """Return the median, and each quantile of the target, shape (width,)."""
        column = self.cast(pl.col(self.target))
        levels = rows.select(
            column.quantile(level, "linear").alias(str(place)) for place, level in enumerate((0.5, *self.quantiles))
        )
        values = levels.collect().row(0)
        return None if values[0] is None else np.array(values, np.float64)

    def invalid(self, score: Floats) -> NDArray[np.bool_]:
        """Return which rows have a number that is not finite, or quantiles that are not in order."""
        wrong: NDArray[np.bool_] = np.logical_not(np.isfinite(score.reshape(len(score), -1)).all(axis=1))
        if self.quantiles:
            low, high = score[:, 1:-1], score[:, 2:]
            with np.errstate(invalid="ignore"):
                crossing = low - high > CROSSING_TOLERANCE * np.maximum(np.abs(low), np.abs(high))
            wrong = np.logical_or(wrong, crossing.any(axis=1))
        return wrong

    def perfect(self, target: Targets) -> Floats:
        """Return the target itself, and as each quantile."""
        return self._same(target.astype(np.float64))

    def opposite(self, target: Targets) -> Floats:
        """Return the end of the targets' range that is further away; targets have no upper bound for an error."""
        low, high = float(target.min()), float(target.max())
        return self._same(np.where(target - low > high - target, low, high))

    def _same(self, number: Floats) -> Floats:
        return np.repeat(number[:, None], self.width, axis=1) if self.quantiles else number

    def single_input(self, target: Targets, code: Ints) -> float:
        """Return the share of the variance that one input alone explains (R², at least 0); NaN for equal targets."""
        residual = target - by_halves(code, target, float(target.mean()))
        variance = float(np.square(target - target.mean()).sum())
        return max(0.0, 1 - float(np.square(residual).sum()) / variance) if variance else float("nan")

    def plots(self, target: Targets, score: Floats, champion: Floats | None = None) -> list[Plot]:
        """Return predicted against actual, errors and, with quantiles, the coverage of the interval; N rows each."""
        plots = [_actual_plot(target, score, self.unit), _errors_plot(target, score, champion, self.unit)]
        return [*plots, _coverage_plot(target, score, self.quantiles)] if self.quantiles else plots

    def rates(self, target: Targets, score: Floats, champion: Floats | None, threshold: float) -> Rates:  # noqa: ARG002
        """Return mean error and mean absolute error of fifths of the rows, by the prediction."""
        numbers, before = _number(score), None if champion is None else _number(champion)

        def show(error: Callable[[Floats], Floats], group: Ints) -> str:
            means = [error((each - target)[group]).mean() for each in (numbers, before) if each is not None]
            values = [f"{mean:.4g}".replace("-", MINUS) for mean in means]
            return with_champion(values[0], values[1] if len(values) > 1 else None)

        rows = [
            [
                f"{numbers[group].min():.4g} … {numbers[group].max():.4g}",
                f"{len(group):,}",
                show(lambda difference: difference, group),
                show(np.abs, group),
            ]
            for group in np.array_split(np.argsort(numbers, kind="stable"), min(FIFTHS, len(numbers)))
        ]
        unit = f" ({self.unit})" if self.unit else ""
        header = ["Predicted", "Rows:", "Mean error:", "Mean absolute error:"]
        return Rates(f"Errors by the prediction{unit}, a fifth of the rows each:", header, rows)

    @property
    def watched(self) -> Mapping[str, Kind]:
        """The number; with quantiles, also the width of the interval between the outer ones."""
        names = (PREDICTION, WIDTH) if self.quantiles else (PREDICTION,)
        return dict.fromkeys(names, "number")

    def watch(self, score: Floats) -> Mapping[str, NDArray[Any]]:
        """Return the numbers, and the widths."""
        return {PREDICTION: _number(score)} | ({WIDTH: score[:, -1] - score[:, 1]} if self.quantiles else {})

    def answer(self, score: Floats) -> dict[str, Any]:
        """Return `{"predictions": [number of each row]}`, and with quantiles the list of each level."""
        quantiles = {f"{level:g}": score[:, place].tolist() for place, level in enumerate(self.quantiles, 1)}
        return {"predictions": _number(score).tolist()} | ({"quantiles": quantiles} if quantiles else {})

    def scores(self, answer: Mapping[str, Any]) -> Floats:
        """Return the numbers, shape (N,); with quantiles, shape (N, width)."""
        number = np.asarray(answer["predictions"], np.float64)
        if not self.quantiles:
            return number
        return np.stack([number, *(answer["quantiles"][f"{level:g}"] for level in self.quantiles)], axis=1)

    def answer_schema(self) -> Schema:
        """Return the JSON schema of the answer."""
        numbers = {"type": "array", "items": NUMBER}
        described = numbers | ({"description": self.unit} if self.unit else {})
        if not self.quantiles:
            return json_object(predictions=described)
        levels = json_object(**{f"{level:g}": numbers for level in self.quantiles})
        return json_object(predictions=described, quantiles=levels)

    @property
    def answer_words(self) -> str:
        """What an answer holds."""
        unit = f" ({self.unit})" if self.unit else ""
        quantiles = ", and its quantiles by level" if self.quantiles else ""
        return f"The predicted {self.target}{unit} of each row{quantiles}"

    @property
    def histogram_edges(self) -> list[float]:
        """Powers of ten, of both signs: the service does not know the target's range."""
        return EDGES

    def observed(self, score: Floats) -> Floats:
        """Return the predicted numbers."""
        return _number(score)


def _groups(number: Floats) -> list[Ints]:
    """Return the places of the rows in tenths, the lowest predictions first."""
    return np.array_split(np.argsort(number, kind="stable"), min(TENTHS, len(number)))


def _actual_plot(target: Floats, score: Floats, unit: str) -> Plot:
    """Return mean prediction and mean target in bins of equally many rows, lowest predictions first."""
    number = _number(score)
    groups = _groups(number)
    actual, predicted = ([float(values[group].mean()) for group in groups] for values in (target, number))
    tenth = range(1, len(groups) + 1)
    series = (
        Series.of("mean of what happened", BLUE, tenth, actual, "bar"),
        Series.of("mean of what was predicted", ORANGE, tenth, predicted),
    )
    axes = ("tenths of the rows, by prediction", unit or "mean")
    return Plot("actual", "Predicted and actual", axes, series, low=min(0.0, *actual, *predicted))


def _errors_plot(target: Floats, score: Floats, champion: Floats | None, unit: str) -> Plot:
    """Return the distribution of prediction less target, without the outermost hundredth on either side."""
    errors = {"this model": _excess(target, score)}
    if champion is not None:
        errors["champion"] = _excess(target, champion)
    low, high = np.quantile(errors["this model"], [0.01, 0.99])
    edges = np.linspace(low, high if high > low else low + 1, ERROR_BINS + 1)
    series = [
        Series.of(name, colour, (edges[1:] + edges[:-1]) / 2, np.histogram(error, edges)[0] / len(target))
        for colour, (name, error) in zip((BLUE, ORANGE), errors.items(), strict=False)
    ]
    axes = (f"prediction less target{f' ({unit})' if unit else ''}", "share of the rows")
    return Plot("errors", "Errors", axes, tuple(reversed(series)))


def _coverage_plot(target: Floats, score: Floats, levels: Sequence[float]) -> Plot:
    """Return the share of targets within the outer quantiles, in bins of equally many rows, by prediction."""
    groups = _groups(_number(score))
    inside = _covered(target, score)
    shares, tenth = [float(inside[group].mean()) for group in groups], range(1, len(groups) + 1)
    series = (
        Series.of("share of targets in the interval", BLUE, tenth, shares, "bar"),
        Series.of(f"as predicted: {levels[-1] - levels[0]:.0%}", GREY, tenth, [levels[-1] - levels[0]] * len(groups)),
    )
    return Plot("coverage", "Coverage of the interval", ("tenths of the rows, by prediction", "share"), series)
