"""One trial of a sweep: trained without the two newest partitions, measured on the older of them.

The newest partition is the holdout; a sweep never reads it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .. import artifact, files, holdout
from .. import config as settings
from ..errors import UserError
from ..files import FEATURES, digest
from ..interface import Compute
from ..project import registered, team_code
from ..stages import train

RUN_PIPELINE = "run `make pipeline`"
MIN_PARTITIONS = 3  # one to train on, one to measure on, and the holdout


@dataclass(frozen=True)
class Split:
    """Feature files to train on, the one to measure on, and a digest of these and of the team's code."""

    training: list[Path]
    measured: Path
    digest: str


def split() -> Split:
    """Return the feature files without the holdout; raise `UserError` if there are too few partitions."""
    paths = sorted(FEATURES.glob("*.parquet"))
    if len(paths) < MIN_PARTITIONS:
        raise UserError(
            f"features/ holds {len(paths)} partition(s), a sweep needs three: run `make data UNTIL=… pipeline`"
        )
    *training, measured, _ = paths
    for path in paths[:-1]:
        holdout.check_label(files.scan_parquet([path], RUN_PIPELINE, [registered().target]), path)
    train.check_trainable(training, measured)
    return Split(training, measured, digest([], [*training, measured, *team_code()]))


def fit(params: Mapping[str, Any], data: Split) -> tuple[dict[str, float], float]:
    """Train as the stage does; return the metrics that are defined, and the seconds that the training took."""
    compute = settings.infra().compute
    begin = time.monotonic()
    with train.sharded(data.training, compute.memory_gb) as training:
        model = registered().fit(
            registered().dataset(training),
            registered().params.model_validate(params),
            Compute(compute.device, compute.precision, compute.threads),
        )
    seconds = time.monotonic() - begin
    target = registered().target
    rows = files.read_parquet(data.measured, RUN_PIPELINE, [target]).filter(pl.col(target).is_not_null())
    score = artifact.predict(artifact.session(model), rows)
    figures = holdout.figures(holdout.labels(rows, data.measured), score)
    return {name: value for name, value in figures.items() if value is not None}, seconds
