"""What production was asked and answered: the prediction log, held against the rows that the source delivers meanwhile.

The log has a row at once, its label comes with the source's partitions, days later; whatever has none yet counts as an
input and a prediction, and not for performance. Whoever may ask the service may write to the log, so an answer counts
only if it came before its row's moment had passed, and for the inputs that the source delivers of that row. Inputs that
differ are training-serving skew: production asks about something else than what is learned.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from .. import config as settings
from .. import files
from ..data.sources.predictions import DAMAGED, OTHER_COLUMNS, OTHER_MODEL, logged, read_log
from ..errors import UserError
from ..project import registered
from ..reference.counts import BATCH
from ..reference.record import SCORE
from .decision import Log

MOMENT, OF_SOURCE = "(moment)", " (source)"


class Served:
    """The answers of one model; `figures` is whole when the rows of every partition have been taken."""

    def __init__(self, answers: pl.DataFrame, left_out: Counter[str]) -> None:
        self._answers, self._columns = answers, Counter[str]()
        self.figures = Log(
            damaged=left_out[DAMAGED], other_model=left_out[OTHER_MODEL], other_columns=left_out[OTHER_COLUMNS]
        )

    def rows(self, delivered: pl.LazyFrame, source: Path, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield those feature rows of a partition that have an answer that counts, with its score.

        `source` is the partition's main table as it was delivered.
        """
        counts = self._compare(files.read_parquet(source, "run `make data`"))
        held = delivered.join(counts.lazy(), on=registered().key, maintain_order="left")
        return held.select(*needed, SCORE).collect_batches(chunk_size=BATCH)

    def _compare(self, source: pl.DataFrame) -> pl.DataFrame:
        """Return key and score of the newest answer that counts for each row; count what does not."""
        key = registered().key
        compared = [name for name in logged(registered().schema) if name not in key]
        told = source.select(*key, *(pl.col(name).alias(name + OF_SOURCE) for name in compared), _moment(source))
        pairs = self._answers.join(told, on=key, maintain_order="left").with_columns(
            # A row without a moment is never late.
            in_time=(pl.col("time") <= pl.col(MOMENT)).fill_null(value=True),
            **{name: pl.col(name).eq_missing(pl.col(name + OF_SOURCE)) for name in compared},
        )
        in_time = pairs.filter("in_time")
        good = in_time.filter(pl.all_horizontal(pl.lit(value=True), *compared))
        newest = good.unique(key, keep="last", maintain_order=True)
        skewed = in_time.unique(key, keep="last", maintain_order=True).join(newest, on=key, how="anti")
        self._columns.update({name: skewed.height - int(skewed[name].sum()) for name in compared})
        asked, punctual = pairs.select(key).n_unique(), newest.height + skewed.height
        old = self.figures
        self.figures = old.model_copy(
            update={
                "rows": old.rows + asked,
                "counted": old.counted + newest.height,
                "late": old.late + asked - punctual,
                "skewed": old.skewed + skewed.height,
                "columns": {name: rows for name, rows in self._columns.most_common() if rows},
            }
        )
        return newest.select(*key, pl.col("score").cast(pl.Float32).alias(SCORE))


def read(model: str) -> Served | None:
    """Read the answers of `model` (its MD5); return None if infra.yaml does not want the log to be looked at."""
    log = settings.infra().serving.log
    if not log.drift:
        return None
    if not set(registered().key) <= set(logged(registered().schema)):
        raise UserError(
            f"infra.yaml: serving.log.drift: the log does not hold the key of a row: {', '.join(registered().key)}"
        )
    noted = read_log(log.url or str(log.place), model, log.options)
    return Served(noted.rows, noted.left_out)


def disagreement(figures: Log, most: float) -> str:
    """Return why a log with these figures is broken, in a sentence."""
    columns = ", ".join(f"{name} in {rows:,}" for name, rows in list(figures.columns.items())[:5])
    return (
        f"the prediction log disagrees with the source in {figures.skew:.1%} of {figures.skewed + figures.counted:,} "
        f"rows ({columns}), drift.maximum_skew in gates.yaml is {most:.1%}: clients send other values than the "
        "source delivers, or somebody else writes to the log"
    )


def _moment(source: pl.DataFrame) -> pl.Expr:
    """Each row's own moment in UTC; the contract's `time_zone` says which clock the data is in."""
    about = registered().schema.metadata or {}
    if not (time := about.get("time")):
        return pl.lit(None, pl.Datetime("us", "UTC")).alias(MOMENT)
    zone = about.get("time_zone", "UTC")

    def utc(moment: pl.Expr) -> pl.Expr:
        here = moment.cast(pl.Datetime("us")).dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
        return here.dt.convert_time_zone("UTC")

    try:
        # The hour that a clock skips in spring is the one after it.
        told = pl.coalesce(utc(pl.col(time)), utc(pl.col(time).dt.offset_by("1h"))).alias(MOMENT)
        source.head(0).select(told)
    except pl.exceptions.ComputeError:
        raise UserError(f"ml/schema.py: metadata time_zone is {zone!r}: a name such as Europe/Rome is one") from None
    return told
