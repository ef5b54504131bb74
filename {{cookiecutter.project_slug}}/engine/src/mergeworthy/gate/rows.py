"""The holdout's rows: the data files that data.dvc names, key and label of the main table, and the coverage check."""

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
from ..holdout import Holdout, check_label
from ..paths import DATA, DATA_DVC
from ..project import registered
from ..verdict import Check

COVERAGE = "coverage"
HOW_TO_RESTORE = f"restore it with `git checkout {DATA_DVC}`, then `make data`"


@dataclass(frozen=True)
class DataFiles:
    """Partition → path below it → MD5 of the file, as DVC's object of the folder `data/` lists them.

    A file is read from `data/` if it has that MD5 there, or else from DVC.
    """

    files: Mapping[str, Mapping[str, str]]
    store: Store

    @classmethod
    def of(cls, data_dvc: Document, name: str, store: Store) -> "DataFiles":
        """Return the files of a data.dvc, called `name` in errors; raise `UserError` if DVC lacks their list.

        The `meta` of data.dvc is not used, as `dvc add` does not update it.
        """
        partitions: dict[str, dict[str, str]] = {}
        for path, hashed in store.files(data_md5(data_dvc, name), f"the list of files of {name}").items():
            partition, _, below = path.partition("/")
            partitions.setdefault(partition, {})[below] = hashed
        return cls(partitions, store)

    def folder(self, partition: str, scratch: Path) -> Path:
        """Return a folder with exactly the partition's files: the one in `data/`, or one written in `scratch`."""
        local, recorded = (DATA / partition).resolve(), self.files[partition]
        present = {path.relative_to(local).as_posix(): path for path in local.rglob("*") if path.is_file()}
        if present.keys() == recorded.keys() and all(md5(present[path]) == hashed for path, hashed in recorded.items()):
            return local
        for path, hashed in recorded.items():
            (scratch / partition / path).parent.mkdir(parents=True, exist_ok=True)
            (scratch / partition / path).write_bytes(self.store.read(hashed, f"{DATA}/{partition}/{path}"))
        return scratch / partition

    def main(self, partition: str) -> pl.LazyFrame:
        """Return the partition's rows of the main table; raise `UserError` if data.dvc or DVC lacks them."""
        file = f"{registered().main}.parquet"
        path = DATA / partition / file
        recorded = self.files.get(partition, {}).get(file)
        if recorded is None:
            raise UserError(f"{DATA_DVC} names no {path}: run `make data pipeline`")
        if path.is_file() and md5(path) == recorded:
            return files.scan_parquet([path], HOW_TO_RESTORE)
        return files.parse_parquet(self.store.read(recorded, str(path)), str(path), HOW_TO_RESTORE).lazy()


def todays_data(store: Store) -> DataFiles:
    """Return the files of this folder's data.dvc."""
    return DataFiles.of(dvc_files.read(DATA_DVC), str(DATA_DVC), store)


def data_md5(data_dvc: Document, name: str) -> str:
    """Return the MD5 of the whole data; raise `UserError` if the data.dvc called `name` records none."""
    try:
        return str(data_dvc["outs"][0]["md5"])
    except (KeyError, IndexError, TypeError):
        raise UserError(f"{name} records no data: run `make data`") from None


def schema() -> DataFrameSchema:
    """Return the contract of the main table."""
    return registered().schema


def key() -> list[str]:
    """Return the columns that identify a row of the main table; raise `UserError` if the contract names none."""
    return registered().key


def labels(rows: pl.LazyFrame, params: BaseModel | None = None) -> pl.DataFrame:
    """Return key and label of each row of the main table; an unknown label is null.

    The label is the task's own expression, so rows that the features lack have their label too. Raise `UserError` if
    the expression cannot be computed, or if a value is no target of the task.
    """
    task, target, table = registered().task, registered().target, registered().main
    label = task.label(params or settings.params()).alias(target)
    try:
        labelled = rows.select(*key(), label).collect()
    except pl.exceptions.PolarsError as error:
        raise UserError(f"the label cannot be computed from the table {table}: {str(error).splitlines()[0]}") from None
    check_label(labelled.lazy(), f"the task's label in the table {table}")
    return labelled.with_columns(task.cast(pl.col(target)))


def with_main_columns(table: pl.DataFrame, rows: pl.LazyFrame, names: Iterable[str]) -> pl.DataFrame:
    """Return the features with those columns of `names` that the main table (`rows`) has replaced by its values."""
    columns = [name for name in rows.collect_schema().names() if name in set(names) - set(key())]
    if not columns:
        return table
    values = rows.select(*key(), *columns).collect()
    return table.drop(columns, strict=False).join(values, on=key(), how="left", nulls_equal=True, maintain_order="left")


def rows_not_in(others: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return those of `rows` whose key is not in `others`."""
    return rows.join(others, on=key(), how="anti", nulls_equal=True)


def check_key(table: pl.DataFrame, what: str) -> pl.DataFrame:
    """Return the table; raise `UserError`, which calls it `what`, if it lacks a key column or repeats a key."""
    if absent := [name for name in key() if name not in table.columns]:
        raise UserError(f"{what} lack the column {absent[0]}, a part of the main table's key: keep it in the features")
    if repeated := table.height - table.select(key()).n_unique():
        raise UserError(
            f"{what} hold {repeated:,} rows more than keys: keep one row of the features per row of the main table"
        )
    return table


def check_coverage(holdout: Holdout, labels: pl.DataFrame, limit: float) -> Check:
    """Check that the holdout has at least the share `limit` of the main table's labelled rows.

    `labels` holds key and label of each row of the main table. Raise `UserError` if the features hold other rows or
    labels than the main table.
    """
    name, target = f"features/{holdout.partition}.parquet", registered().target
    labelled = labels.drop_nulls(target)
    table = check_key(holdout.table, f"the rows of {name}").select(*key(), registered().task.cast(pl.col(target)))
    try:
        if unknown := rows_not_in(labelled, table).height:
            raise UserError(
                f"{name} holds {unknown:,} labelled rows that the main table does not: label and features "
                "must agree, and a row of the features is a row of the main table"
            )
        both = table.join(labelled, on=key(), nulls_equal=True, suffix=" of the main table")
    except pl.exceptions.SchemaError as error:
        raise UserError(f"{name} has a key of another type than the main table ({error}): keep its type") from None
    if relabelled := both.filter(pl.col(target) != pl.col(f"{target} of the main table")).height:
        raise UserError(f"{name} gives {relabelled:,} rows another label than the task: let the features use its label")
    lost, share = labelled.height - both.height, both.height / labelled.height
    if share < limit:
        why = (
            f"{lost:,} of {labelled.height:,} labelled rows of {holdout.partition} have no features, so the model is "
            "not judged on them: let build_features keep them, or set the share that is enough as coverage in "
            "gates.yaml."
        )
        return Check(name=COVERAGE, result="block", figure=share, limit=limit, why=why)
    if lost:
        why = f"{lost:,} of {labelled.height:,} labelled rows have no features, which gates.yaml allows."
        return Check(name=COVERAGE, result="warn", figure=share, limit=limit, why=why)
    why = f"All {labelled.height:,} labelled rows of {holdout.partition} are judged."
    return Check(name=COVERAGE, result="pass", figure=share, limit=limit, why=why)
