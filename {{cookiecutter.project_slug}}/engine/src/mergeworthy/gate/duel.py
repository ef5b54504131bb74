"""Challenger against champion on the same rows: overall it must be shown to be at most a margin worse."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..config import Champion, Gates
from ..errors import UserError
from ..holdout import Holdout
from ..project import registered
from ..stats import bootstrap
from ..stats.bootstrap import Bools, Difference, Floats, Ints
from ..verdict import Check, Comparison
from .coverage import keyed
from .partition import key

Strings = NDArray[np.str_]
EVERY = slice(None)


@dataclass(frozen=True)
class Duel:
    """Labels and both models' scores of N rows, the block (day, from 0) of each, and the resamples of blocks."""

    label: Bools
    champion: Floats
    challenger: Floats
    block: Ints
    weights: Floats

    def difference(self, metric: str, rows: Bools | slice = EVERY) -> Difference | None:
        """Compare the two on some of the rows."""
        scores = self.champion[rows], self.challenger[rows]
        return bootstrap.difference(
            registered().all_metrics[metric], self.label[rows], scores, self.block[rows], self.weights
        )


@dataclass(frozen=True)
class Arena:
    """The challenger's scores of the holdout's N rows, shape (N,), and what each comparison of them takes.

    Blocks and slices are what the main table says of them, if it has such columns, or else what the champion's features
    say: the challenger's could rename their values.
    `labels` holds key and label of every row of the main table, whether or not the features have it.
    """

    rules: Gates
    holdout: Holdout
    score: Floats
    labels: pl.DataFrame

    def column(self, name: str, setting: str) -> Strings:
        """Return a feature column as texts, shape (N,); raise `UserError` naming the `setting` of gates.yaml."""
        table = self.holdout.table
        if name not in table.columns:
            has = ", ".join(table.columns)
            raise UserError(f"gates.yaml: {setting}: the features have no column {name}, they have {has}")
        try:
            return text(table[name])
        except pl.exceptions.PolarsError:
            raise UserError(
                f"gates.yaml: {setting}: the column {name} has type {table[name].dtype}, whose values are no texts, "
                "numbers or times: name another"
            ) from None

    def duel(self, rival: pl.DataFrame) -> tuple[Duel, Bools]:
        """Return both models on the rows (key and score) that the rival has too, and which rows of the N these are.

        Raise `UserError` if there are none.
        """
        keys, mine = key(), keyed(self.holdout.table, "the features")
        try:
            theirs = mine.select(keys).join(
                rival.select(*keys, "score"), on=keys, how="left", nulls_equal=True, maintain_order="left"
            )["score"]
        except pl.exceptions.SchemaError as error:
            raise UserError(f"the key has another type in the features than for the champion: {error}") from None
        common: Bools = theirs.is_not_null().to_numpy()
        if not common.any():
            raise UserError("the champion knows none of the holdout's rows: have their keys changed?")
        days = self.column(self.rules.bootstrap.block, "bootstrap.block")[common]
        _, day = np.unique(days, return_inverse=True)
        weights = bootstrap.draw(int(day.max()) + 1, self.rules.bootstrap.resamples, self.rules.bootstrap.seed)
        scores = theirs.drop_nulls().cast(pl.Float64).to_numpy(), self.score[common]
        return Duel(self.holdout.label[common], *scores, day, weights), common


def text(column: pl.Series) -> Strings:
    """Give a column's values as text, shape (N,); null is a value too."""
    return column.cast(pl.String).fill_null("(unknown)").to_numpy().astype(np.str_)


def compare(found: Difference, metric: str, margin: float, confidence: float, rows: int) -> Comparison:
    """Put a difference into the words of the verdict."""
    return Comparison(
        metric=metric,
        rows=rows,
        days=found.blocks,
        champion=found.champion,
        challenger=found.challenger,
        worse_by=found.worse_by,
        low=found.at_least(confidence),
        high=found.at_most(confidence),
        margin=margin,
    )


def overall(duel: Duel, settings: Champion) -> tuple[list[Check], list[Comparison]]:
    """Judge the whole holdout, metric by metric."""
    checks, comparisons = [], []
    for metric, margin in settings.margins.items():
        found = duel.difference(metric)
        name = f"champion: {metric}"
        if found is None:
            why = (
                f"{metric} cannot be compared: the holdout has fewer than {bootstrap.FEWEST} days, or one class alone."
            )
            checks.append(Check(name=name, result="block", limit=margin, why=why))
            continue
        comparison = compare(found, metric, margin, settings.confidence, len(duel.label))
        comparisons.append(comparison)
        needed = found.blocks_needed(margin, settings.confidence)
        result = "pass" if comparison.high <= margin else "block"
        why = _why(comparison, settings.confidence, needed)
        checks.append(Check(name=name, result=result, figure=comparison.high, limit=margin, why=why))
    return checks, comparisons


def _why(seen: Comparison, confidence: float, needed: int) -> str:
    sure = f"{seen.metric} is {_worse(seen.worse_by)} ({seen.champion:.4f} → {seen.challenger:.4f})"
    bound = f"with {confidence:.0%} confidence at most {seen.high:.4f} worse"
    if seen.high <= seen.margin:
        return f"{sure}, {bound}."
    if seen.worse_by > seen.margin and seen.low > 0:
        return f"{sure}: more than the margin."
    if needed > seen.days:
        rows = needed * seen.rows // seen.days
        return (
            f"{sure}, but {seen.days} days are too few for this margin ({bound}): about {needed:,} days "
            f"({rows:,} rows) are needed to show that an equal model is one; hold out more, or widen the margin."
        )
    return f"{sure}, {bound}: more than the margin."


def _worse(by: float) -> str:
    return f"{abs(by):.4f} {'worse' if by > 0 else 'better'}" if by else "the same"
