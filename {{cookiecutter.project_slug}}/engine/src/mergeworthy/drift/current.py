"""What came since the champion was made: the source's next partitions, held to the contract, as feature rows."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from .. import config as settings
from .. import files
from ..data.contract import validate
from ..data.sources import Source, open_source
from ..paths import DATA, DRIFT_REFERENCE, partition
from ..project import registered
from ..reference.record import Reference
from ..stages.features import build

Tables = Mapping[str, pl.DataFrame]


def partitions(reference: Reference, until: str | None, folder: Path) -> dict[str, pl.LazyFrame]:
    """Give feature rows of each partition that is newer than the reference, up to `until`; tables lie in `folder`.

    Raises `BrokenDataError` where one does not keep the contract, `UserError` where the source cannot be read.
    """
    before = partition(reference.partitions[-1], str(DRIFT_REFERENCE))
    source = open_source(settings.infra().source)
    new = [name for name in source.partitions() if name > before and (until is None or name <= until)]
    for name in new:
        tables = source.read(name)
        validate(name, tables)
        _write(folder / name, tables)
    if new:
        _write(folder / before, _history(before, source))  # what the first hours of the next one look back on
    pairs = zip([before, *new], new, strict=False)
    return {name: build(name, previous, settings.params(), folder) for previous, name in pairs}


def _history(name: str, source: Source) -> Tables:
    if (DATA / name).is_dir():
        return {
            table: files.read_parquet(DATA / name / f"{table}.parquet", "run `make data`")
            for table in registered().schemas
        }
    return source.read(name)


def _write(folder: Path, tables: Tables) -> None:
    folder.mkdir(parents=True)
    for name, schema in registered().schemas.items():
        tables[name].select(list(schema.columns)).write_parquet(folder / f"{name}.parquet")
