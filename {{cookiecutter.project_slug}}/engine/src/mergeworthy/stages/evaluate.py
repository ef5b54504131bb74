"""Stage `evaluate`: score the ONNX that ships on the newest partition, and write down what it is worth."""

import json

import polars as pl

from .. import artifact, files, holdout
from ..errors import run
from ..paths import METRICS, PLOTS, PREDICTIONS, TRAINING
from ..project import registered
from . import plots, versions


def main() -> None:
    """Write `reports/metrics.json`, `reports/predictions.parquet` and `reports/plots/*.png`.

    The predictions hold key, label and score of each row: they are what later challengers are compared with.
    """
    versions.check()
    session, newest = artifact.load(), holdout.read()
    score = artifact.predict(session, newest.table)
    PLOTS.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(holdout.measure(newest, score), indent=2) + "\n")
    newest.table.select(*registered().key, registered().target).with_columns(score=pl.Series(score)).write_parquet(
        PREDICTIONS
    )
    plots.draw(PLOTS, newest.label, score, files.read_csv(TRAINING, "run `make pipeline`", empty=True))


if __name__ == "__main__":
    run(main)
