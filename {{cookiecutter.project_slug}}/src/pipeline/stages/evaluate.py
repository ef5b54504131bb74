"""Stage `evaluate`: score the ONNX that ships on the newest partition, and write down what it is worth."""

import json

import polars as pl

from .. import holdout, ml
from ..errors import UserError, run
from ..ml.schema import TABLES
from ..paths import METRICS, MODEL, PLOTS, PREDICTIONS, TRAINING
from . import plots

KEY = list(next(iter(TABLES.values())).unique or [])


def main() -> None:
    """Write `reports/metrics.json`, `reports/predictions.parquet` and `reports/plots/*.png`."""
    if not MODEL.exists():
        raise UserError(f"{MODEL} is missing: run `make pipeline`")
    newest = holdout.read()
    score = ml.predict(holdout.session(MODEL.read_bytes()), newest.table)
    PLOTS.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(holdout.measure(newest, score), indent=2) + "\n")
    newest.table.select(*KEY, ml.LABEL).with_columns(score=pl.Series(score)).write_parquet(PREDICTIONS)
    plots.draw(PLOTS, newest.label, score, pl.read_csv(TRAINING, raise_if_empty=False))


if __name__ == "__main__":
    run(main)
