"""Stage `features`: one feature file per partition, built from that partition and the one before it.

The one before carries the history that the first hours of a partition look back on. A file is built once: as long as
both partitions, the team's code and the parameters stay the same, it is copied from `.cache/`. So a new partition costs
one partition.

The newest partition's history ships with the model. The service looks up in it, by key and moment, what the training
rows were joined to.
"""

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import polars as pl
from pydantic import BaseModel
from rich.progress import track

from .. import holdout
from .. import project as team
from ..config.base import stage_params
from ..errors import UserError
from ..files import DATA, FEATURES, ONLINE, digest, scan_parquet, whole
from ..partitions import Partition, accepted
from ..project import History, Online, registered, team_code
from .base import run_stage

CACHE = Path(".cache/features")
HOW_TO_FIX = "delete it, and run `make data`"


def main() -> None:
    """Write `features/<partition>.parquet` for every partition in `data/`, and `models/online/` for the newest."""
    params = stage_params("features")
    names = accepted()
    if not names:
        raise UserError("data/ holds no partition: run `make data` first")
    for folder in (FEATURES, CACHE):
        folder.mkdir(exist_ok=True, parents=True)
    used = set()
    for previous, name in track(list(zip([None, *names], names, strict=False)), "features"):
        used.add(file := build_once(name, previous, params))
        shutil.copyfile(file, name.features)
    for unused in set(CACHE.iterdir()) - used:
        unused.unlink()
    write_history(tables(*names[-2:]), time_span(names[-1].features), params)


def build_once(partition: Partition, previous: Partition | None, params: BaseModel) -> Path:
    """Return the cached feature file of `partition`; build it if the cache does not hold it."""
    path = CACHE / f"{partition}-{cache_key(partition, previous, params)}.parquet"
    if not path.exists():
        unfinished = path.with_suffix(".part")
        sources = [path for name in (previous, partition) if name for path in name.tables()]
        with team.running(registered().features), whole(sources, HOW_TO_FIX):
            build(partition, previous, params).sink_parquet(unfinished, compression="zstd")
        holdout.check_label(pl.scan_parquet(unfinished), f"features of {partition}")
        unfinished.rename(path)
    return path


def cache_key(partition: Partition, previous: Partition | None, params: BaseModel) -> str:
    """Return the hash of everything that a feature file is built from."""
    tables = [path for name in (previous, partition) if name for path in name.tables()]
    return digest([pl.__version__, params.model_dump_json()], [Path(__file__), *team_code(), *tables])


def build(partition: Partition, previous: Partition | None, params: BaseModel, root: Path = DATA) -> pl.LazyFrame:
    """Return the feature rows of `partition` in `root`.

    Rows of `previous` serve as history only; a project without time does not read them.
    """
    project = registered()
    if project.time is None:
        return project.build_features(tables(partition, root=root), params)
    rows = project.build_features(tables(previous, partition, root=root), params)
    return rows.filter(in_partition(project.time, partition))


def in_partition(time: str, partition: str) -> pl.Expr:
    """Return whether each row belongs to the partition, by its column `time`."""
    return pl.col(time).dt.to_string("%Y-%m-%d").str.starts_with(partition)


def tables(*names: Partition | None, root: Path = DATA) -> dict[str, pl.LazyFrame]:
    """Return every table of the partitions `names` in `root`, concatenated; the contract ensures that each has all."""
    partitions = [name for name in names if name]
    return {
        path.stem: pl.concat([scan_parquet([each.table(path.stem, root)], HOW_TO_FIX) for each in partitions])
        for path in partitions[-1].tables(root)
    }


def time_span(file: Path) -> tuple[datetime, datetime] | None:
    """Return the first and the last moment of a feature file's rows; None if the project has no time."""
    time = registered().time
    if time is None:
        return None
    moment = pl.col(time)
    first, last = pl.scan_parquet(file).select(first=moment.min(), last=moment.max()).collect().row(0)
    return first, last


def write_history(
    tables: Mapping[str, pl.LazyFrame],
    span: tuple[datetime, datetime] | None,
    params: BaseModel,
    folder: Path = ONLINE,
) -> None:
    """Write `<history>.parquet` into `folder`: keys, `at` and values; the file's metadata says how to look rows up.

    `span` is the first and the last moment of the newest partition. A project without time (None) has no history.
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
        # Collected together, so that what several histories read is read once.
        collected = pl.collect_all([rows_since(history, start) for history in histories.values()])
    for (name, history), rows in zip(histories.items(), collected, strict=True):
        limit = history.within.total_seconds() if history.within else None
        lookup = {"by": history.by, "within": limit, "until": until}
        rows.write_parquet(folder / f"{name}.parquet", metadata={"history": json.dumps(lookup)})


def rows_since(history: History, start: datetime) -> pl.LazyFrame:
    """Return the rows of a history that hold at `start`, and every later one, in a reproducible order.

    Of several rows of one key at one moment, the last is kept.
    """
    table = history.table.unique([*history.by, "at"], keep="last", maintain_order=True)
    before = table.filter(pl.col("at") < start).unique(history.by, keep="last", maintain_order=True)
    return pl.concat([before, table.filter(pl.col("at") >= start)]).sort("at", *history.by)


if __name__ == "__main__":
    run_stage(main)
