"""Whether the feature files can be trained on and measured on, found out before the time for it is spent."""

import sys
from pathlib import Path

import polars as pl

from ..errors import UserError
from ..files import scan_parquet
from ..project import registered
from ..text import say

ADVICE, FIX = "see the features in src/ml", "run `make pipeline`"


def check(training: list[Path], holdout: Path, processes: int = 1) -> None:
    """Raise `UserError` naming file or column if a model of `training` cannot be fitted, or not measured on `holdout`.

    What can be fitted all the same, columns without any value, is a warning on standard error.
    """
    schema = _schema(training[0])
    for path in [*training[1:], holdout]:
        if odd := sorted(set(schema.items()) ^ set(_schema(path).items()), key=str):
            raise UserError(f"{path}: column {odd[0][0]} is another one than in {training[0]}: run `make pipeline`")
    if registered().target not in schema:
        raise UserError(f"{training[0]}: there is no label column {registered().target}: {ADVICE}")
    categories, numbers = registered().inputs(schema)
    _types({name: schema[name] for name in categories}, {name: schema[name] for name in numbers})
    rows = scan_parquet(training, FIX)
    _labels(rows, f"the training rows, {training[0].stem} to {training[-1].stem}", processes)
    _labels(scan_parquet([holdout], FIX), f"{holdout}, the holdout", 1)
    names = [*categories, *numbers]
    known = rows.filter(pl.col(registered().target).is_not_null()).select(pl.col(names).count()).collect().row(0)
    empty = [name for name, count in zip(names, known, strict=True) if count == 0]
    if len(empty) == len(names):
        raise UserError(f"all {len(names)} inputs are null in every training row: {ADVICE}")
    if empty:
        say(f"warning: null in every training row, so of no use: {', '.join(empty)}: {ADVICE}", file=sys.stderr)


def _schema(path: Path) -> pl.Schema:
    return scan_parquet([path], FIX).collect_schema()


def _types(categories: dict[str, pl.DataType], numbers: dict[str, pl.DataType]) -> None:
    if not categories and not numbers:
        raise UserError(f"the feature files hold no input beside keys and label: {ADVICE}")
    odd = {name: dtype for name, dtype in categories.items() if dtype != pl.String}
    odd |= {name: d for name, d in numbers.items() if not (d.is_float() or d.is_integer() or d == pl.Boolean)}
    for name, dtype in odd.items():
        raise UserError(
            f"the feature column {name} has type {dtype}, and an input is text, a float, an integer or a Boolean: "
            f"cast it, {ADVICE}"
        )


def _labels(rows: pl.LazyFrame, where: str, least: int) -> None:
    label = pl.col(registered().target)
    count, kinds = rows.select(label.count(), kinds=label.drop_nulls().n_unique()).collect().row(0)
    if count == 0:
        raise UserError(
            f"no row of {where} has a known {registered().target}: take other partitions (`make data UNTIL=…`)"
        )
    if kinds == 1:
        one = rows.select(label.drop_nulls().first()).collect().item()
        raise UserError(
            f"{where}: {registered().target} is {one} in each of the {count:,} rows that have it: with one class "
            "there is nothing to learn or to measure, take other partitions (`make data UNTIL=…`)"
        )
    if count < least:
        raise UserError(f"{where}: {count:,} rows for {least:,} processes: lower compute.processes in infra.yaml")
