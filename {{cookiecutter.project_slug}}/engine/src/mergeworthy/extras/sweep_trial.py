"""One trial: trained without the two newest partitions, measured on the older of them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .. import artifact, files, holdout
from .. import config as settings
from ..errors import UserError
from ..files import digest
from ..interface import Compute
from ..paths import FEATURES
from ..project import registered, team_code
from ..stages import distributed, train


@dataclass(frozen=True)
class Split:
    """Feature files to train on, the one to measure on, and a hash of these and of the team's code."""

    training: list[Path]
    measured: Path
    digest: str


def split() -> Split:
    """Leave the holdout out; raise `UserError` where too few partitions remain."""
    found = sorted(FEATURES.glob("*.parquet"))
    if len(found) < 3:
        raise UserError(
            f"features/ holds {len(found)} partition(s), a sweep needs three: run `make data UNTIL=… pipeline`"
        )
    *training, measured, _ = found
    for path in found[:-1]:
        holdout.check_label(files.scan_parquet([path], "run `make pipeline`", [registered().target]), path)
    train.check_trainable(training, measured)
    return Split(training, measured, digest([], [*training, measured, *team_code()]))


def fit(params: Mapping[str, Any], data: Split) -> tuple[dict[str, float], float]:
    """Train as the stage does; give the metrics that can be told, and the seconds that it took."""
    labelled, started, compute = pl.col(registered().target).is_not_null(), time.monotonic(), settings.infra().compute
    with distributed.sharded(data.training, compute.memory_gb) as shards:
        model = registered().fit(
            registered().dataset(shards),
            registered().params.model_validate(params),
            Compute(compute.device, compute.precision, compute.threads),
        )
    seconds = time.monotonic() - started
    table = files.read_parquet(data.measured, "run `make pipeline`", [registered().target]).filter(labelled)
    score = artifact.predict(artifact.session(model), table)
    figures = holdout.figures(holdout.labels(table, data.measured), score)
    return {name: value for name, value in figures.items() if value is not None}, seconds
