"""Requests whose answers are known: rows of the holdout, and what evaluation said of them."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic_core import to_json

from ...errors import UserError
from ...ml.schema import TABLES
from ...paths import DATA, DATA_DVC, PREDICTIONS
from ...serving.contract import asked
from .. import dvc_files
from ..dvc_cli import dvc

ROWS = 200


@dataclass(frozen=True)
class Golden:
    """One request with many rows, one with a single row, and the scores of the many, shape (N,)."""

    many: bytes
    one: bytes
    scores: NDArray[np.float32]


def read() -> Golden:
    """Take rows spread over the holdout, as a client knows them, with the scores of the stage `evaluate`."""
    if not PREDICTIONS.exists():
        raise UserError(f"{PREDICTIONS} is missing: run `make pipeline`, or `dvc pull evaluate`")
    name, schema = next(iter(TABLES.items()))
    file = DATA / max(dvc_files.partitions(dvc_files.read(DATA_DVC))) / f"{name}.parquet"
    if not file.exists():
        dvc("pull", str(file))  # of the data a release needs this alone
    table = pl.read_parquet(file).select(*asked(schema))
    scored = pl.read_parquet(PREDICTIONS).select(*(schema.unique or []), "score")
    chosen = scored.gather_every(max(1, scored.height // ROWS)).head(ROWS)
    rows = chosen.join(table, on=schema.unique, how="left", maintain_order="left").select(*asked(schema)).to_dicts()
    return Golden(_body(rows), _body(rows[:1]), chosen["score"].to_numpy())


def _body(rows: list[dict[str, object]]) -> bytes:
    return to_json({"rows": rows})
