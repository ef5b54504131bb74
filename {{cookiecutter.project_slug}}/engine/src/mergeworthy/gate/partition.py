"""The data that data.dvc names, partition by partition: as it lies in `data/` if that is true, else from DVC."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pandera.polars import DataFrameSchema
from pydantic import BaseModel

from .. import config as settings
from .. import files
from ..adapters import dvc_files
from ..adapters.dvc_files import Document
from ..adapters.dvc_store import Store
from ..errors import UserError
from ..files import md5
from ..paths import DATA, DATA_DVC
from ..project import registered

FIX = f"restore it with `git checkout {DATA_DVC}`, then `make data`"


@dataclass(frozen=True)
class Data:
    """Partition → path below it → MD5 of the file, as listed in the folder's own object in DVC."""

    files: Mapping[str, Mapping[str, str]]
    store: Store

    @classmethod
    def named(cls, recorded: Document, name: str, store: Store) -> "Data":
        """Read the list of the files that a data.dvc, called `name` in errors, names; raise `UserError` if it cannot.

        Its `meta` is not asked: `dvc add` leaves that as it was.
        """
        found: dict[str, dict[str, str]] = {}
        for path, hashed in store.files(hash_of(recorded, name), f"the list of files of {name}").items():
            partition, _, below = path.partition("/")
            found.setdefault(partition, {})[below] = hashed
        return cls(found, store)

    def folder(self, partition: str, scratch: Path) -> Path:
        """Return a folder with exactly the partition's files: the one in `data/`, or one made in `scratch`."""
        local, named = (DATA / partition).resolve(), self.files[partition]
        lying = {path.relative_to(local).as_posix(): path for path in local.rglob("*") if path.is_file()}
        if lying.keys() == named.keys() and all(md5(lying[path]) == recorded for path, recorded in named.items()):
            return local
        for path, recorded in named.items():
            (scratch / partition / path).parent.mkdir(parents=True, exist_ok=True)
            (scratch / partition / path).write_bytes(self.store.read(recorded, f"{DATA}/{partition}/{path}"))
        return scratch / partition

    def main(self, partition: str) -> pl.LazyFrame:
        """Return the partition's rows of the main table; raise `UserError` if it has none, or DVC lost them."""
        path = f"{registered().main}.parquet"
        name = DATA / partition / path
        recorded = self.files.get(partition, {}).get(path)
        if recorded is None:
            raise UserError(f"{DATA_DVC} names no {name}: run `make data pipeline`")
        if name.is_file() and md5(name) == recorded:
            return files.scan_parquet([name], FIX)
        return files.parse_parquet(self.store.read(recorded, str(name)), str(name), FIX).lazy()


def today(store: Store) -> Data:
    """Return the data that is judged on."""
    return Data.named(dvc_files.read(DATA_DVC), str(DATA_DVC), store)


def described(table: pl.DataFrame, rows: pl.LazyFrame, names: Iterable[str]) -> pl.DataFrame:
    """Return feature rows with those of the columns `names` that the main table (`rows`) has as it has them."""
    taken = [name for name in rows.collect_schema().names() if name in set(names) - set(key())]
    if not taken:
        return table
    truth = rows.select(*key(), *taken).collect()
    return table.drop(taken, strict=False).join(truth, on=key(), how="left", nulls_equal=True, maintain_order="left")


def schema() -> DataFrameSchema:
    """Return the contract of the main table."""
    return registered().schema


def key() -> list[str]:
    """Return the columns of the main table that name a row; raise `UserError` if the contract names none."""
    return registered().key


def hash_of(recorded: Document, name: str) -> str:
    """Return the MD5 of the whole data; raise `UserError` if the data.dvc called `name` records none."""
    try:
        return str(recorded["outs"][0]["md5"])
    except (KeyError, IndexError, TypeError):
        raise UserError(f"{name} records no data: run `make data`") from None


def labels(rows: pl.LazyFrame, params: BaseModel | None = None) -> pl.DataFrame:
    """Return key and label of each row of the main table, whether or not the label is known.

    The label is the task's, so a row that the features lack is known to be labelled all the same. Raise `UserError`
    if it cannot be told, or is not true or false.
    """
    wanted = registered().task.label(params or settings.params()).alias(registered().target)
    try:
        found = rows.select(*key(), wanted).collect()
    except pl.exceptions.PolarsError as error:
        raise UserError(
            f"the label cannot be computed from the table {registered().main}: {str(error).splitlines()[0]}"
        ) from None
    if found[registered().target].dtype != pl.Boolean:
        raise UserError(
            f"the task's label is {found[registered().target].dtype} in the table {registered().main}, "
            "expected true, false or null"
        )
    return found
