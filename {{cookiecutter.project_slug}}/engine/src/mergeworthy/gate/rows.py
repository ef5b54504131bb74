"""The rows that a gate judges by: the data files of data.dvc, the holdout's keys and labels, and what a change alters.

A change may alter the label of the holdout's rows, and the data of partitions that main has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pandera.polars import DataFrameSchema
from pydantic import BaseModel, ValidationError

from .. import config as settings
from .. import files
from ..adapters import dvc, git
from ..adapters.dvc import Document, Store
from ..config.base import PARAMS
from ..errors import UserError
from ..files import DATA, DATA_DVC, md5
from ..holdout import Holdout
from ..holdout import check_label as check_target
from ..partitions import Partition
from ..project import registered
from ..verdict import Check

if TYPE_CHECKING:
    from .champion import Champion, ChampionScorer, ScoredChampion

COVERAGE = "coverage"
HOW_TO_RESTORE = f"restore it with `git checkout {DATA_DVC}`, then `make data`"


@dataclass(frozen=True)
class DataFiles:
    """Partition → path below it → MD5 of the file, as DVC's object of the folder `data/` lists them.

    A file is read from `data/` if it has that MD5 there, or else from DVC.
    """

    files: Mapping[Partition, Mapping[str, str]]
    store: Store

    @classmethod
    def of(cls, data_dvc: Document, name: str, store: Store) -> DataFiles:
        """Return the files of a data.dvc, called `name` in errors; raise `UserError` if DVC lacks their list.

        The `meta` of data.dvc is not used, as `dvc add` does not update it.
        """
        partitions: dict[Partition, dict[str, str]] = {}
        for path, hashed in store.files(data_md5(data_dvc, name), f"the list of files of {name}").items():
            partition, _, below = path.partition("/")
            partitions.setdefault(Partition(partition), {})[below] = hashed
        return cls(partitions, store)

    def folder(self, partition: Partition, scratch: Path) -> Path:
        """Return a folder with exactly the partition's files: the one in `data/`, or one written in `scratch`."""
        local, recorded = partition.folder().resolve(), self.files[partition]
        present = {path.relative_to(local).as_posix(): path for path in local.rglob("*") if path.is_file()}
        if present.keys() == recorded.keys() and all(md5(present[path]) == hashed for path, hashed in recorded.items()):
            return local
        for path, hashed in recorded.items():
            (scratch / partition / path).parent.mkdir(parents=True, exist_ok=True)
            (scratch / partition / path).write_bytes(self.store.read(hashed, f"{DATA}/{partition}/{path}"))
        return scratch / partition

    def main(self, partition: Partition) -> pl.LazyFrame:
        """Return the partition's rows of the main table; raise `UserError` if data.dvc or DVC lacks them."""
        path = partition.table(registered().main)
        recorded = self.files.get(partition, {}).get(path.name)
        if recorded is None:
            raise UserError(f"{DATA_DVC} names no {path}: run `make data pipeline`")
        if path.is_file() and md5(path) == recorded:
            return files.scan_parquet([path], HOW_TO_RESTORE)
        return files.parse_parquet(self.store.read(recorded, str(path)), str(path), HOW_TO_RESTORE).lazy()


def todays_data(store: Store) -> DataFiles:
    """Return the files of this folder's data.dvc."""
    return DataFiles.of(dvc.read(DATA_DVC), str(DATA_DVC), store)


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
    check_target(labelled.lazy(), f"the task's label in the table {table}")
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
    name, target = str(holdout.partition.features), registered().target
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


NAMED_KEYS = 3  # keys of params.yaml in one sentence
NAMED_PARTITIONS = 6  # partitions in one sentence


def check_label(
    labels_now: pl.DataFrame, scored: ScoredChampion, champion: Champion, scorer: ChampionScorer
) -> Iterator[Check]:
    """Warn if rows that the champion knows have another label now, or none.

    `labels_now` holds key and label of each row of the main table.
    """
    labels_then = scored.rows
    if scored.method == "todays features":  # their label is today's, not the champion's
        if (params := _to_params(_params_at(champion.commit))) is None:
            return
        labels_then = labels(scorer.data.main(scorer.holdout.partition), params)
    labels_then = labels_then.drop_nulls(registered().target)
    both = labels_then.join(labels_now, on=key(), nulls_equal=True, suffix=" now")
    changed = _count_changed(both)
    if changed:
        share = changed / both.height
        why = (
            f"{changed:,} of {both.height:,} rows ({share:.1%}) have another label than on main: "
            f"{_cause(champion, scorer)}. Both models are judged by the new label."
        )
        yield Check(name="label", result="warn", figure=share, limit=0, why=why)


def check_data(champion: Champion, today: DataFiles, holdout: Partition) -> Iterator[Check]:
    """Warn of partitions whose files differ from those at the champion's commit; count the holdout's changed rows."""
    if not champion.data:
        return
    try:
        former = DataFiles.of(champion.data, f"{DATA_DVC} at {champion.name}", today.store)
    except UserError as error:
        why = f"The data cannot be compared with main's ({error}): review the change of {DATA_DVC}."
        yield Check(name="data", result="warn", why=why)
        return
    shared = former.files.keys() & today.files.keys()
    changed = sorted(partition for partition in shared if former.files[partition] != today.files[partition])
    if not changed:
        return
    more = f" and {len(changed) - NAMED_PARTITIONS} more" if len(changed) > NAMED_PARTITIONS else ""
    why = f"The data differs from main's in {', '.join(changed[-NAMED_PARTITIONS:])}{more}."
    if holdout in changed:
        why += f" {_changed_rows(former, today, holdout)}"
    yield Check(name="data", result="warn", figure=len(changed), limit=0, why=f"{why} A reviewer decides on it.")


def _cause(champion: Champion, scorer: ChampionScorer) -> str:
    """Name the keys of params.yaml whose old values would change the label; if there are none, name the code."""
    old, new = _params_at(champion.commit), _flat(files.read_text(PARAMS, "restore it from git"), str(PARAMS))
    rows = scorer.data.main(scorer.holdout.partition)
    labels_now, causes = labels(rows), list[str]()
    for name in sorted(name for name in old.keys() & new.keys() if old[name] != new[name]):
        params = _to_params(new | {name: old[name]})
        if params and not _gives(rows, params, labels_now):
            causes.append(f"{name} ({old[name]} → {new[name]})")
    if not causes:
        return f"no key of {PARAMS} explains it, so the code of the label changed"
    more = f" and {len(causes) - NAMED_KEYS} more" if len(causes) > NAMED_KEYS else ""
    return f"{PARAMS} changed {', '.join(causes[:NAMED_KEYS])}{more}"


def _gives(rows: pl.LazyFrame, params: BaseModel, expected: pl.DataFrame) -> bool:
    """Return True if the label by these parameters is the expected one."""
    try:
        return labels(rows, params).equals(expected)
    except UserError:
        return False


def _params_at(commit: str) -> dict[str, Any]:
    return _flat(git.read(commit, PARAMS) or "{}", f"{PARAMS} at {commit[:12]}")


def _flat(text: str, name: str) -> dict[str, Any]:
    content = files.parse_yaml(text, name)
    if not isinstance(content, dict):
        raise UserError(f"{name}: expected keys and values, not {content!r}: restore the file from git")
    return dvc.flat(content, ".")


def _to_params(flat: dict[str, Any]) -> BaseModel | None:
    """Return parameters from dotted names, or None if today's code does not accept them."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, last = name.split(".")
        section = nested
        for part in sections:
            section = section.setdefault(part, {})
        section[last] = value
    try:
        return registered().params.model_validate(nested)
    except ValidationError:
        return None


def _changed_rows(former: DataFiles, today: DataFiles, holdout: Partition) -> str:
    """Return a sentence that counts the rows of the holdout's main table that are gone, new, or have another label."""
    target = registered().target
    try:
        old, new = labels(former.main(holdout)), labels(today.main(holdout))
        gone = rows_not_in(new, old).drop_nulls(target).height
        added = rows_not_in(old, new).drop_nulls(target).height
        relabelled = _count_changed(old.join(new, on=key(), nulls_equal=True, suffix=" now"))
    except (UserError, pl.exceptions.PolarsError) as error:
        return f"The holdout's rows cannot be compared ({str(error).splitlines()[0]})."
    labelled = old.drop_nulls(target).height
    return (
        f"Of {labelled:,} labelled rows that main had in the holdout {gone:,} are gone and {relabelled:,} have another "
        f"label in the data; {added:,} labelled rows are new."
    )


def _count_changed(both: pl.DataFrame) -> int:
    """Return the number of rows whose label differs from the label in the column with the suffix ` now`."""
    target = registered().target
    return both.filter(pl.col(target).ne_missing(pl.col(f"{target} now"))).height
