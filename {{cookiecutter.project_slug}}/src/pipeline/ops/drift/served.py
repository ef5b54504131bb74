"""What production was asked and answered: the prediction log, joined to the rows that the source delivers meanwhile.

The log has a row at once, its label comes with the source's partitions, days later; whatever has none yet counts as an
input and a prediction, and not for performance.
"""

from collections.abc import Iterator, Sequence

import polars as pl
from onnxruntime import InferenceSession

from ... import settings
from ...errors import UserError
from ...ml.schema import TABLES
from ...reference.counts import BATCH
from ...reference.record import SCORE, scored
from ..sources.predictions import read_predictions

KEY: list[str] = list(next(iter(TABLES.values())).unique or [])


def answers(model: str) -> pl.DataFrame | None:
    """Give key and score of all that `model` (its MD5) answered, the newest answer each; None where nobody asked."""
    log = settings.infra().serving.log
    if not log.drift:
        return None
    noted = read_predictions(log.url or str(log.place), **log.options)
    if not KEY or not set(KEY) <= set(noted.columns):
        raise UserError(f"infra.yaml: serving.log.drift: the log does not hold the key of a row: {', '.join(KEY)}")
    ours = noted.filter(pl.col("model") == model).unique(KEY, keep="last", maintain_order=True)
    return ours.select(*KEY, pl.col("score").cast(pl.Float32).alias(SCORE))


def rows(
    delivered: pl.LazyFrame, needed: Sequence[str], session: InferenceSession, noted: pl.DataFrame | None
) -> Iterator[pl.DataFrame]:
    """Give what was delivered, scored now; with a log what it holds of that, with the score that it holds."""
    if noted is None:
        return scored(delivered.select(needed), session)
    held = delivered.join(noted.lazy(), on=KEY, maintain_order="left")
    return held.select(*needed, SCORE).collect_batches(chunk_size=BATCH)
