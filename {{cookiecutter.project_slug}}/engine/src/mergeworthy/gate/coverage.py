"""Whether the holdout is every labelled row of the newest partition: what has no features is not judged."""

import polars as pl

from ..errors import UserError
from ..holdout import Holdout
from ..project import registered
from ..verdict import Check
from .partition import key

NAME = "coverage"


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


def check(judged: Holdout, labels: pl.DataFrame, limit: float) -> Check:
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
        return Check(name=NAME, result="block", figure=share, limit=limit, why=why)
    if lost:
        why = f"{lost:,} of {known.height:,} labelled rows have no features, which gates.yaml allows."
        return Check(name=NAME, result="warn", figure=share, limit=limit, why=why)
    why = f"All {known.height:,} labelled rows of {judged.partition} are judged."
    return Check(name=NAME, result="pass", figure=share, limit=limit, why=why)
