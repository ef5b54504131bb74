"""How good the model is: against scikit-learn's HistGradientBoosting on the same features, month by month.

Runs in a generated project's environment and folder; each model is trained on all months before its test month. The
second table is of both when they never see a month after March, and when they see every month but the one that they are
tested on, later ones too: what retraining is worth, and the most that it could be, whatever the kind of model.
"""

import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import yaml
from mergeworthy import Compute
from mergeworthy.artifact import predict, session
from mergeworthy.data.sources import Flights
from mergeworthy.project import registered
from ml.params import Params
from sklearn.ensemble import HistGradientBoostingClassifier

SLACK = float(os.environ.get("SLACK", "1"))  # with more, fewer months are looked at
MONTHS = [f"2013-{month:02}" for month in range(5, 13 if SLACK == 1 else 7)]
FIRST = "2013-04"  # what is never retrained knows the months before
MOST_CATEGORIES = 255  # that HistGradientBoosting takes
PROJECT = registered()


def features(params: Params) -> pl.DataFrame:
    """The whole year, labelled rows, with the month that each belongs to."""
    source = Flights()
    months = [source.read(name) for name in source.partitions()]
    tables = {name: pl.concat([month[name] for month in months]).lazy() for name in PROJECT.schemas}
    rows = PROJECT.build_features(tables, params).filter(pl.col(PROJECT.target).is_not_null()).collect()
    return rows.with_columns(month=pl.col("sched_dep").dt.to_string("%Y-%m"))


def matrix(rows: pl.DataFrame) -> tuple[np.ndarray, list[bool]]:
    """What HistGradientBoosting takes: numbers, and categories as the rank of their frequency."""
    categories, numbers = PROJECT.inputs(rows.drop("month").schema)
    ranks = []
    for name in categories:
        common = rows[name].drop_nulls().value_counts(sort=True)[name].head(MOST_CATEGORIES)
        places = rows[name].replace_strict(common, list(range(len(common))), default=None, return_dtype=pl.Float32)
        ranks.append(places.fill_null(float("nan")))
    values = rows.select(pl.col(numbers).cast(pl.Float32).fill_null(float("nan")))
    return values.hstack(ranks).to_numpy(), [False] * len(numbers) + [True] * len(categories)


class Pair(NamedTuple):
    """The project's model and the boosted trees, after training on the same rows."""

    own: bytes
    boosted: HistGradientBoostingClassifier
    seconds: tuple[float, float]


class Table:
    """The year's rows, for both kinds of model."""

    def __init__(self, params: Params) -> None:
        self.params, self.rows = params, features(params)
        self.values, self.categorical = matrix(self.rows)
        self.month = self.rows["month"].to_numpy()
        self.label = self.rows[PROJECT.target].to_numpy().astype(bool)

    def train(self, known: np.ndarray) -> Pair:
        """Both on some of the rows, bool of shape (rows,)."""
        start = time.perf_counter()
        own = PROJECT.fit(PROJECT.dataset([self.rows.filter(known).drop("month").lazy()]), self.params, Compute())
        trained = time.perf_counter()
        boosted = HistGradientBoostingClassifier(categorical_features=self.categorical, random_state=0)
        boosted.fit(self.values[known], self.label[known])
        return Pair(own, boosted, (trained - start, time.perf_counter() - trained))

    def test(self, pair: Pair, month: str) -> list[float]:
        """AUC of both on a month, and log loss of both."""
        now = self.month == month
        scores = [predict(session(pair.own), self.rows.filter(now))]
        scores.append(pair.boosted.predict_proba(self.values[now])[:, 1])
        return [PROJECT.all_metrics[name](self.label[now], score) for name in ("auc", "log_loss") for score in scores]


def line(name: str, figures: list[float]) -> None:
    """Print a row of a table."""
    print(f"| {name} | {' | '.join(f'{figure:.4f}' for figure in figures)} |", flush=True)


def main() -> None:
    """Print two Markdown tables, and exit 1 where the model is not as good as it must be."""
    table = Table(Params.model_validate(yaml.safe_load(Path("params.yaml").read_text())))
    print("| month | AUC | AUC of HGB | log loss | log loss of HGB | seconds | seconds of HGB |")
    print("|---|---|---|---|---|---|---|")
    figures = []
    for month in MONTHS:
        pair = table.train(table.month < month)
        figures.append([*table.test(pair, month), *pair.seconds])
        line(month, figures[-1])
    mean = np.mean(figures, axis=0).tolist()
    line("mean", mean)
    if SLACK == 1:
        never = table.train(table.month < FIRST)
        stale = [table.test(never, month) for month in MONTHS]
        most = [table.test(table.train(table.month != month), month) for month in MONTHS]
        print("\n| mean of these months | AUC | AUC of HGB | log loss | log loss of HGB |\n|---|---|---|---|---|")
        line("retrained every month", mean[:4])
        line(f"never, with the months before {FIRST}", np.mean(stale, axis=0).tolist())
        line("with all other months, later ones too", np.mean(most, axis=0).tolist())
    if mean[0] < mean[1] - 0.002 * SLACK or mean[2] > mean[3] + 0.003 * SLACK:
        sys.exit("the model is worse than HistGradientBoosting by more than it may be")


if __name__ == "__main__":
    main()
