"""The newest partition's history, which ships with the model: the stage `features` writes it beside its files.

The service looks up in it, by key and moment, what the training rows were joined to.
"""

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import polars as pl
from pydantic import BaseModel

from .. import team
from ..history import History
from ..paths import ONLINE
from ..project import Online, registered


def write(
    tables: Mapping[str, pl.LazyFrame],
    span: tuple[datetime, datetime] | None,
    params: BaseModel,
    folder: Path = ONLINE,
) -> None:
    """Write `<history>.parquet` into `folder`: keys, `at` and values; how to look up stands in the file's metadata.

    `span` is the first and the last moment of the newest partition; None without time, where nothing becomes known.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if span is None:
        return
    start, end = span
    until = end.replace(tzinfo=UTC).timestamp()
    histories = registered().build_history(tables, params)
    if not histories:
        return
    with team.running(cast("Online", registered().online).history):
        found = pl.collect_all([recent(history, start) for history in histories.values()])  # they share what they read
    for (name, history), rows in zip(histories.items(), found, strict=True):
        limit = history.within.total_seconds() if history.within else None
        about = {"by": history.by, "within": limit, "until": until}
        rows.write_parquet(folder / f"{name}.parquet", metadata={"history": json.dumps(about)})


def recent(history: History, start: datetime) -> pl.LazyFrame:
    """What holds at `start`, and every later change, in an order that is always the same; at one moment the last."""
    table = history.table.unique([*history.by, "at"], keep="last", maintain_order=True)
    before = table.filter(pl.col("at") < start).unique(history.by, keep="last", maintain_order=True)
    return pl.concat([before, table.filter(pl.col("at") >= start)]).sort("at", *history.by)
