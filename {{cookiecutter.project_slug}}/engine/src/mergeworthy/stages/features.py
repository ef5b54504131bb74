"""Stage `features`: one feature file per partition, built from that partition and the one before it.

The one before carries the history that the first hours of a month look back on. A file is built once: while the two
partitions, the team's code and the parameters stay as they are it comes from `.cache/`: a new month costs one month.
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

from .. import holdout, paths, project
from .. import project as team
from ..config.base import params as read_params
from ..errors import UserError
from ..files import digest, scan_parquet, whole
from ..interface import History
from ..paths import DATA, FEATURES, ONLINE, partitions
from ..project import Online, registered, team_code
from .base import run_stage

# DOC stages.online: The newest partition's history, which ships with the model: the stage `features` writes it beside
# its files. The service looks up in it, by key and moment, what the training rows were joined to.


def write_history(
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
    with project.running(cast("Online", registered().online).history):
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


BUILT = Path(".cache/features")
RESTORE = "delete it, and run `make data`"


def tables(*names: str | None, root: Path = DATA) -> dict[str, pl.LazyFrame]:
    """Every table of some partitions in `root`, one after the other; the contract has seen that each has them all."""
    folders = [root / name for name in names if name]
    found = [path.name for path in paths.tables(folders[-1])]
    return {
        Path(name).stem: pl.concat([scan_parquet([folder / name], RESTORE) for folder in folders]) for name in found
    }


def within(time: str, partition: str) -> pl.Expr:
    """Whether a row belongs to the partition."""
    return pl.col(time).dt.to_string("%Y-%m-%d").str.starts_with(partition)


def build(partition: str, previous: str | None, params: BaseModel, root: Path = DATA) -> pl.LazyFrame:
    """Feature rows of `partition` in `root`; rows of `previous` are history only, and none where there is no time."""
    project = registered()
    if project.time is None:
        return project.build_features(tables(partition, root=root), params)
    return project.build_features(tables(previous, partition, root=root), params).filter(
        within(project.time, partition)
    )


def key(partition: str, previous: str | None, params: BaseModel) -> str:
    """Hash of all that a feature file is made from."""
    tables = [path for name in (previous, partition) if name for path in paths.tables(DATA / name)]
    return digest([pl.__version__, params.model_dump_json()], [Path(__file__), *team_code(), *tables])


def built(partition: str, previous: str | None, params: BaseModel) -> Path:
    """Build the file, unless it was built before."""
    path = BUILT / f"{partition}-{key(partition, previous, params)}.parquet"
    if not path.exists():
        unfinished = path.with_suffix(".part")
        sources = [path for name in (previous, partition) if name for path in sorted((DATA / name).glob("*.parquet"))]
        with team.running(registered().features), whole(sources, RESTORE):
            build(partition, previous, params).sink_parquet(unfinished, compression="zstd")
        holdout.check_label(pl.scan_parquet(unfinished), f"features of {partition}")
        unfinished.rename(path)
    return path


def span(file: Path) -> tuple[datetime, datetime] | None:
    """First and last moment of a feature file's rows; None where there is no time."""
    time = registered().time
    if time is None:
        return None
    moment = pl.col(time)
    first, last = pl.scan_parquet(file).select(first=moment.min(), last=moment.max()).collect().row(0)
    return first, last


def main() -> None:
    """Write `features/<partition>.parquet` for every partition in `data/`, and `models/online/` for the newest."""
    params = read_params()
    names = partitions()
    if not names:
        raise UserError("data/ holds no partition: run `make data` first")
    for folder in (FEATURES, BUILT):
        folder.mkdir(exist_ok=True, parents=True)
    used = set()
    for previous, name in track(list(zip([None, *names], names, strict=False)), "features"):
        used.add(file := built(name, previous, params))
        shutil.copyfile(file, FEATURES / f"{name}.parquet")
    for old in set(BUILT.iterdir()) - used:
        old.unlink()
    write_history(tables(*names[-2:]), span(FEATURES / f"{names[-1]}.parquet"), params)


if __name__ == "__main__":
    run_stage(main)
