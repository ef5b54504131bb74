"""Stage `features`: one feature file per partition, built from that partition and the one before it.

The one before carries the history that the first hours of a month look back on.
"""

import polars as pl
from rich.progress import track

from .. import ml, settings
from ..errors import UserError
from ..paths import DATA, FEATURES, partitions
from . import run_stage

MAIN = next(iter(ml.TABLES))


def build(partition: str, previous: str | None, params: ml.Params) -> pl.LazyFrame:
    """Feature rows of `partition`; rows of `previous` are history only."""
    names = [name for name in (previous, partition) if name]
    tables = {
        table: pl.concat([pl.scan_parquet(DATA / name / f"{table}.parquet") for name in names]) for table in ml.TABLES
    }
    features = ml.build_features(tables, params)
    time = (ml.TABLES[MAIN].metadata or {}).get("time")
    if not (previous and time):
        return features
    return features.filter(pl.col(time).dt.to_string("%Y-%m-%d").str.starts_with(partition))


def main() -> None:
    """Write `features/<partition>.parquet` for every partition in `data/`."""
    params = settings.params()
    names = partitions()
    if not names:
        raise UserError("data/ holds no partition: run `make data` first")
    FEATURES.mkdir(exist_ok=True)
    for previous, name in track(list(zip([None, *names], names, strict=False)), "features"):
        build(name, previous, params).sink_parquet(FEATURES / f"{name}.parquet", compression="zstd")


if __name__ == "__main__":
    run_stage(main)
