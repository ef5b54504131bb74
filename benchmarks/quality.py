"""How good the model is: against scikit-learn's HistGradientBoosting on the same features, month by month.

Runs in a generated project's environment and folder; each model is trained on all months before its test month.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from pipeline import ml
from pipeline.holdout import session
from pipeline.ml.features import inputs
from pipeline.ml.schema import TABLES
from pipeline.ops.sources.flights import Flights
from sklearn.ensemble import HistGradientBoostingClassifier

SLACK = float(os.environ.get("SLACK", "1"))  # with more, fewer months are looked at
MONTHS = [f"2013-{month:02}" for month in range(5, 13 if SLACK == 1 else 7)]
MOST_CATEGORIES = 255  # that HistGradientBoosting takes


def features(params: ml.Params) -> pl.DataFrame:
    """The whole year, labelled rows, with the month that each belongs to."""
    source = Flights()
    months = [source.read(name) for name in source.partitions()]
    tables = {name: pl.concat([month[name] for month in months]).lazy() for name in TABLES}
    rows = ml.build_features(tables, params).filter(pl.col(ml.LABEL).is_not_null()).collect()
    return rows.with_columns(month=pl.col("sched_dep").dt.to_string("%Y-%m"))


def matrix(rows: pl.DataFrame) -> tuple[np.ndarray, list[bool]]:
    """What HistGradientBoosting takes: numbers, and categories as the rank of their frequency."""
    categories, numbers = inputs(rows.drop("month").schema)
    ranks = []
    for name in categories:
        common = rows[name].drop_nulls().value_counts(sort=True)[name].head(MOST_CATEGORIES)
        places = rows[name].replace_strict(common, list(range(len(common))), default=None, return_dtype=pl.Float32)
        ranks.append(places.fill_null(float("nan")))
    values = rows.select(pl.col(numbers).cast(pl.Float32).fill_null(float("nan")))
    return values.hstack(ranks).to_numpy(), [False] * len(numbers) + [True] * len(categories)


def main() -> None:
    """Print a Markdown table, and exit 1 where the model is not as good as it must be."""
    params = ml.Params.model_validate(yaml.safe_load(Path("params.yaml").read_text()))
    rows = features(params)
    values, categorical = matrix(rows)
    auc, log_loss = ml.METRICS["auc"], ml.METRICS["log_loss"]
    print("| month | AUC | AUC of HGB | log loss | log loss of HGB | seconds | seconds of HGB |")
    print("|---|---|---|---|---|---|---|")
    table = []
    for month in MONTHS:
        before, now = (rows["month"] < month).to_numpy(), (rows["month"] == month).to_numpy()
        label = rows[ml.LABEL].to_numpy().astype(bool)
        start = time.perf_counter()
        model = ml.train([rows.filter(before).drop("month").lazy()], params)
        trained = time.perf_counter()
        score = ml.predict(session(model), rows.filter(now))
        boosted = HistGradientBoostingClassifier(categorical_features=categorical, random_state=0)
        boosting = time.perf_counter()
        other = boosted.fit(values[before], label[before]).predict_proba(values[now])[:, 1]
        figures = [auc(label[now], score), auc(label[now], other), log_loss(label[now], score)]
        figures += [log_loss(label[now], other), trained - start, time.perf_counter() - boosting]
        table.append(figures)
        print(f"| {month} | {' | '.join(f'{figure:.4f}' for figure in figures)} |", flush=True)
    mean = np.mean(table, axis=0)
    print(f"| mean | {' | '.join(f'{figure:.4f}' for figure in mean)} |")
    if mean[0] < mean[1] - 0.002 * SLACK or mean[2] > mean[3] + 0.003 * SLACK:
        sys.exit("the model is worse than HistGradientBoosting by more than it may be")


if __name__ == "__main__":
    main()
