"""What the champion has learned from, in a few kilobytes beside it: `models/drift.json`.

Made when a champion is made, from its own history, so that a check needs neither the data nor the features of then.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from onnxruntime import InferenceSession
from pydantic import Field

from .. import artifact, files, label
from ..config.drift import Drift
from ..config.gates import Bootstrap
from ..paths import DRIFT_REFERENCE
from ..project import registered
from . import calibrate
from .bins import Bins, Kinds, learn
from .counts import BATCH, Counts, count
from .performance import Figure, Labelled, measure

SCORE = "(score)"  # the prediction, as one more column


class Reference(files.Record):
    """The history of one model: its columns in bins, what is usual among them, and what it was worth on its holdout."""

    version: Literal[2] = 2
    model: Annotated[str, Field(description="MD5 of the model that this belongs to")]
    partitions: Annotated[list[str], Field(description="oldest first; the newest is the holdout")]
    rows: int
    first: Annotated[str, Field(description="oldest block (day)")]
    last: Annotated[str, Field(description="newest block (day)")]
    bins: dict[str, Bins]
    counts: Annotated[dict[str, list[int]], Field(description="rows in each bin")]
    thresholds: Annotated[dict[str, list[float]], Field(description="of windows of 250 rows, 1,000, 4,000 …")]
    holdout: Annotated[dict[str, Figure], Field(description="labelled performance, metric by metric")]

    def limit(self, column: str, rows: int) -> float:
        """Give the distance that a window of so many rows is usually within."""
        return calibrate.limit(self.thresholds[column], self.rows, rows)


def inputs(session: InferenceSession) -> Kinds:
    """The columns that a model reads, and their kinds."""
    return {one.name: "category" if one.type == "tensor(string)" else "number" for one in session.get_inputs()}


def scored(rows: pl.LazyFrame, session: InferenceSession) -> Iterator[pl.DataFrame]:
    """Give all rows batch by batch, with the model's prediction as one more column."""
    for part in rows.collect_batches(chunk_size=BATCH):
        yield part.with_columns(pl.Series(SCORE, artifact.predict(session, part)))


def make(
    history: dict[str, pl.LazyFrame], session: InferenceSession, model: str, settings: Bootstrap, policy: Drift
) -> Reference:
    """Look at `history`: partition → feature rows, oldest first, the newest the holdout. `model` is the model's MD5."""
    kinds = inputs(session)
    needed = [*kinds, settings.block, registered().target]
    rows = pl.concat([part.select(needed) for part in history.values()])
    *_, newest = history.values()
    holdout = pl.concat(list(scored(newest.select(needed), session)))
    bins = learn(rows, kinds) | learn(holdout.lazy(), {SCORE: "number"})
    counts = count(scored(rows, session), bins, settings.block, own=True)
    return summarise(list(history), model, counts, bins, labelled(holdout, settings.block), settings, policy)


def summarise(
    partitions: list[str],
    model: str,
    counts: Counts,
    bins: dict[str, Bins],
    holdout: Labelled,
    settings: Bootstrap,
    policy: Drift,
) -> Reference:
    """Calibrate on the counts of the history, and measure on the holdout."""
    families = {"inputs": [name for name in bins if name != SCORE], "score": [SCORE]}
    return Reference(
        model=model,
        partitions=partitions,
        rows=int(counts.rows.sum()),
        first=counts.blocks[0],
        last=counts.blocks[-1],
        bins=bins,
        counts={name: total.tolist() for name, total in counts.total().items()},
        thresholds=calibrate.thresholds(counts, families, policy.distance, policy.window.persistence),
        holdout=measure(holdout, policy.performance.margins, settings),
    )


def labelled(rows: pl.DataFrame, block: str) -> pl.DataFrame:
    """Keep what performance is told from: block, label and score of the rows whose label is known."""
    label.check(rows.lazy(), "the feature rows")
    known = rows.filter(pl.col(registered().target).is_not_null())
    return known.select(
        pl.col(block).cast(pl.String).alias("block"),
        pl.col(registered().target).alias("label"),
        pl.col(SCORE).alias("score"),
    )


def read(path: Path = DRIFT_REFERENCE) -> Reference:
    """Read the reference; raise `UserError` where there is none, or it cannot be understood."""
    return files.read_record(path, Reference, "a reference", f"`dvc pull --force {path}`, or `make pipeline`")
