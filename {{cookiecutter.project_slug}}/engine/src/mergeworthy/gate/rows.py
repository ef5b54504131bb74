"""The holdout's rows in the main table: key, label, and whether features and label are those of the champion."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pandera.polars import DataFrameSchema
from pydantic import BaseModel

from .. import config as settings
from .. import files
from ..adapters import dvc_files
from ..adapters.dvc_files import Document, Store
from ..errors import UserError
from ..files import md5
from ..holdout import Holdout
from ..paths import DATA, DATA_DVC
from ..project import registered
from ..verdict import Check

# DOC gate.partition: The data that data.dvc names, partition by partition: as it lies in `data/` if that is true,
# else from DVC.

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


# DOC gate.coverage: Whether the holdout is every labelled row of the newest partition: what has no features is not
# judged.

COVERAGE = "coverage"


def keyed(table: pl.DataFrame, what: str) -> pl.DataFrame:
    """Return the table after making sure of its key; raise `UserError` naming a missing column, or rows that share one.

    `what` says in the error whose rows these are.
    """
    if missing := [name for name in key() if name not in table.columns]:
        raise UserError(f"{what} lack the column {missing[0]}, a part of the main table's key: keep it in the features")
    if twice := table.height - table.select(key()).n_unique():
        raise UserError(f"{what} hold {twice:,} rows more than keys: a row of the main table counts once")
    return table


def missing(rows: pl.DataFrame, among: pl.DataFrame) -> pl.DataFrame:
    """Return the rows whose key is not `among` others."""
    return rows.join(among, on=key(), how="anti", nulls_equal=True)


def check_coverage(judged: Holdout, labels: pl.DataFrame, limit: float) -> Check:
    """Compare the holdout with the main table's own labels (key and label of each row); `limit` is the least share.

    Raise `UserError` if the features hold other rows or labels than the main table.
    """
    name, known = f"features/{judged.partition}.parquet", labels.drop_nulls(registered().target)
    table = keyed(judged.table, f"the rows of {name}").select(*key(), registered().target)
    try:
        if strange := missing(table, known).height:
            raise UserError(
                f"{name} holds {strange:,} labelled rows that the main table does not: label and features "
                "must agree, and a row of the features is a row of the main table"
            )
        both = table.join(known, on=key(), nulls_equal=True, suffix=" of the main table")
    except pl.exceptions.SchemaError as error:
        raise UserError(f"{name} has a key of another type than the main table ({error}): keep it as it is") from None
    if other := both.filter(pl.col(registered().target) != pl.col(f"{registered().target} of the main table")).height:
        raise UserError(f"{name} gives {other:,} rows another label than the task: let the features use its label")
    lost, share = known.height - both.height, both.height / known.height
    if share < limit:
        why = (
            f"{lost:,} of {known.height:,} labelled rows of {judged.partition} have no features, so nothing is judged "
            "on them: let build_features keep them, or name the share that is enough as coverage in gates.yaml."
        )
        return Check(name=COVERAGE, result="block", figure=share, limit=limit, why=why)
    if lost:
        why = f"{lost:,} of {known.height:,} labelled rows have no features, which gates.yaml allows."
        return Check(name=COVERAGE, result="warn", figure=share, limit=limit, why=why)
    why = f"All {known.height:,} labelled rows of {judged.partition} are judged."
    return Check(name=COVERAGE, result="pass", figure=share, limit=limit, why=why)
