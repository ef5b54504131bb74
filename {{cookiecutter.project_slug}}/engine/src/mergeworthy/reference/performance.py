"""What a champion is worth on rows whose label is known, and how sure that is: whole days are resampled."""

import math
from collections.abc import Iterable
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field

from ..config.gates import Bootstrap
from ..files import Record
from ..project import registered
from ..stats.bootstrap import FEWEST, TOLD, Difference, draw

Labelled = pl.DataFrame  # of rows whose label is known:
LABELLED = {"block": pl.String, "label": pl.Boolean, "score": pl.Float32}


class Figure(Record):
    """A metric's value, and its standard error where enough days tell it."""

    value: float
    error: Annotated[float, Field(ge=0)] = 0.0
    blocks: Annotated[int, Field(description="days that were resampled whole")]


def measure(rows: Labelled, metrics: Iterable[str], settings: Bootstrap) -> dict[str, Figure]:
    """Measure each metric that can be told: on ten blocks at least, and on nine resamples of ten."""
    block = rows["block"].rank("dense").cast(pl.Int64).to_numpy() - 1
    blocks = int(block.max() + 1) if len(block) else 0
    if blocks < FEWEST:
        return {}
    label, score = rows["label"].to_numpy().astype(bool), rows["score"].cast(pl.Float64).to_numpy()
    weights, found = draw(blocks, settings.resamples, settings.seed), {}
    for name in metrics:
        values = registered().all_metrics[name].prepare(label, score, block)(weights)
        resampled = values[1:][np.isfinite(values[1:])]
        if np.isfinite(values[0]) and len(resampled) >= TOLD * settings.resamples:
            error = resampled.std(ddof=1) * math.sqrt(blocks / (blocks - 1))
            found[name] = Figure(value=float(values[0]), error=float(error), blocks=blocks)
    return found


def plain(rows: Labelled, metrics: Iterable[str]) -> dict[str, Figure]:
    """Measure without an error: what a line over time is drawn from."""
    label, score = rows["label"].to_numpy().astype(bool), rows["score"].cast(pl.Float64).to_numpy()
    values = {name: registered().all_metrics[name](label, score) for name in metrics}
    blocks = rows["block"].n_unique()
    return {name: Figure(value=value, blocks=blocks) for name, value in values.items() if math.isfinite(value)}


def worse(metric: str, holdout: Figure, now: Figure) -> Difference:
    """By how much `now` is worse than the holdout; the two are of different days, so their errors add up."""
    sign = -1 if registered().all_metrics[metric].greater_is_better else 1
    error = math.hypot(holdout.error, now.error)
    blocks = min(holdout.blocks, now.blocks)
    return Difference(holdout.value, now.value, sign * (now.value - holdout.value), error, blocks)
