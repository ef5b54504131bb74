"""How good the sample `demand` is: against scikit-learn's HistGradientBoosting and a seasonal naive forecast.

    cd PROJECT && .venv/bin/python …/benchmarks/demand.py [MONTH …]     (a generated project of the sample, with data/)

Both models are trained on the same features and the months before their test month; boosting fits one model for the
median and one for each quantile. The naive forecast is the count of the same hour a week before, and its quantiles
are those of its errors in training. Prints a Markdown table; exits 1 if the model is worse than boosting.
"""

import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from mergeworthy import Compute
from mergeworthy.artifact import predict, session
from mergeworthy.data.sources import Demand
from mergeworthy.project import registered
from ml.features import QUANTILES
from ml.model import LEVELS
from ml.params import Params
from sklearn.ensemble import HistGradientBoostingRegressor

FIRST = "2023-07"  # of the sample's months
MONTHS = ["2024-06"]
WORSE = 1.01  # times the mean absolute error and the pinball loss of boosting, at most
METRICS = ("mae", "rmse", "pinball", "interval_coverage", "interval_width")
PROJECT = registered()


def features(params: Params, until: str) -> pl.DataFrame:
    """Return the labelled rows of all months up to `until`, with the month that each belongs to."""
    source = Demand()
    counts = pl.concat([source.read(name)["counts"] for name in source.partitions() if FIRST <= name <= until])
    rows = PROJECT.build_features({"counts": counts.lazy()}, params).filter(pl.col(PROJECT.target).is_not_null())
    return rows.with_columns(month=pl.col("time").dt.to_string("%Y-%m")).collect()


def boosted(known: pl.DataFrame, new: pl.DataFrame) -> np.ndarray:
    """Return the scores of boosted trees, one model for each level, shape (N, 3)."""
    _, numbers = PROJECT.inputs(known.drop("month").schema)
    places = pl.Enum(known["place"].unique().sort())

    def matrix(rows: pl.DataFrame) -> np.ndarray:
        inputs = rows.select(pl.col(numbers).fill_null(float("nan")), pl.col("place").cast(places).to_physical())
        return inputs.to_numpy()

    categorical = [False] * len(numbers) + [True]
    models = [
        HistGradientBoostingRegressor(
            loss="quantile", quantile=level, categorical_features=categorical, random_state=0
        ).fit(matrix(known), known[PROJECT.target].to_numpy())
        for level in LEVELS
    ]
    return np.sort(np.stack([model.predict(matrix(new)) for model in models], axis=1), axis=1)[:, [1, 0, 2]]


def naive(known: pl.DataFrame, new: pl.DataFrame) -> np.ndarray:
    """Return the same hour of last week, or the median where it is missing, with quantiles of its errors, (N, 3)."""
    median = known[PROJECT.target].median()
    errors = (known[PROJECT.target] - known["ago_7"]).drop_nulls()
    count = new["ago_7"].fill_null(median).to_numpy()
    return np.stack([count, *(count + errors.quantile(level) for level in QUANTILES)], axis=1)


def main(months: list[str]) -> None:
    """Print the table, and exit 1 if the model is worse than boosting by more than it may be."""
    params = Params.model_validate(yaml.safe_load(Path("params.yaml").read_text()))
    rows, worse = features(params, max(months)), []
    print(f"| month | model | {' | '.join(METRICS)} | seconds |\n|---|---|{'---|' * (len(METRICS) + 1)}")
    for month in months:
        known, new = rows.filter(pl.col("month") < month), rows.filter(pl.col("month") == month)
        target, losses = new[PROJECT.target].to_numpy(), {}

        def own(known: pl.DataFrame, new: pl.DataFrame) -> np.ndarray:
            data = PROJECT.dataset([known.drop("month").lazy()])
            return predict(session(PROJECT.fit(data, params, Compute())), new).astype(np.float64)

        for name, function in (("this sample", own), ("HistGradientBoosting", boosted), ("last week", naive)):
            started = time.perf_counter()
            score = function(known, new)
            seconds = time.perf_counter() - started
            values = [PROJECT.all_metrics[metric](target, score) for metric in METRICS]
            losses[name] = np.array([values[METRICS.index("mae")], values[METRICS.index("pinball")]])
            shown = " | ".join(f"{value:.3f}" for value in values)
            print(f"| {month} | {name} | {shown} | {seconds:.0f} |", flush=True)
        worse += [month] * bool((losses["this sample"] > WORSE * losses["HistGradientBoosting"]).any())
    sys.exit(f"worse than HistGradientBoosting: {', '.join(worse)}" if worse else 0)


if __name__ == "__main__":
    main(sys.argv[1:] or MONTHS)
