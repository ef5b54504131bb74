"""Stage `online`: the newest partition's history, which ships with the model.

The service looks up in it, by key and moment, what the training rows were joined to.
"""

import json
import shutil
from datetime import UTC, datetime

import polars as pl

from .. import ml, settings
from ..errors import UserError
from ..paths import ONLINE, partitions
from . import run_stage
from .features import MAIN, TIME, tables, within


def recent(history: ml.History, start: datetime) -> pl.DataFrame:
    """What holds at `start`, and every later change; of several at the same moment the last."""
    table = history.table.collect().unique([*history.by, "at"], keep="last", maintain_order=True)
    before = table.filter(pl.col("at") < start).unique(history.by, keep="last", maintain_order=True)
    return pl.concat([before, table.filter(pl.col("at") >= start)])


def main() -> None:
    """Write `models/online/<history>.parquet`: keys, `at` and values; how to look up stands in the file's metadata."""
    names = partitions()
    if not names:
        raise UserError("data/ holds no partition: run `make data` first")
    shutil.rmtree(ONLINE, ignore_errors=True)
    ONLINE.mkdir(parents=True)
    if not TIME:
        return  # without time nothing becomes known
    known = tables(*names[-2:])
    times = known[MAIN].filter(within(TIME, names[-1])).select(start=pl.col(TIME).min(), end=pl.col(TIME).max())
    start, end = times.collect().row(0)
    until = end.replace(tzinfo=UTC).timestamp()
    for name, history in ml.build_history(known, settings.params()).items():
        limit = history.within.total_seconds() if history.within else None
        about = {"by": history.by, "within": limit, "until": until}
        rows = recent(history, start)
        rows.write_parquet(ONLINE / f"{name}.parquet", metadata={"history": json.dumps(about)})


if __name__ == "__main__":
    run_stage(main)
