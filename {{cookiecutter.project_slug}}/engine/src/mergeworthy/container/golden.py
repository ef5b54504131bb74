"""Requests whose answers are known: rows of the holdout, and what evaluation said of them."""

import json
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from .. import files
from ..adapters import dvc_files
from ..adapters.dvc_cli import dvc
from ..data.contract import requested
from ..errors import UserError
from ..paths import DATA, DATA_DVC, PREDICTIONS
from ..project import registered

ROWS = 200


@dataclass(frozen=True)
class Golden:
    """One request with many rows, one with a single row, and the scores of the many, shape (N,)."""

    many: bytes
    one: bytes
    scores: NDArray[np.float32]

    def repeated(self, rows: int) -> bytes:
        """Return a request of so many rows: those of `many`, again and again."""
        return _body([row for row, _ in zip(cycle(json.loads(self.many)["rows"]), range(rows), strict=False)])


def read() -> Golden:
    """Take rows spread over the holdout, as a client knows them, with the scores of the stage `evaluate`."""
    if not PREDICTIONS.exists():
        raise UserError(f"{PREDICTIONS} is missing: run `make pipeline`, or `dvc pull evaluate`")
    name, schema = registered().main, registered().schema
    partitions = dvc_files.partitions(dvc_files.read(DATA_DVC))
    if not partitions:
        raise UserError(f"{DATA_DVC} names no partition: run `make data UNTIL=…`")
    file = DATA / max(partitions) / f"{name}.parquet"
    if not file.exists():
        dvc("pull", str(file))  # of the data a release needs this alone
    known, key = list(requested(schema)), list(schema.unique or [])
    table = files.read_parquet(file, f"`dvc pull --force {file}`", known).select(known)
    scored = files.read_parquet(PREDICTIONS, "run `make pipeline`", [*key, "score"]).select(*key, "score")
    chosen = scored.gather_every(max(1, scored.height // ROWS)).head(ROWS)
    rows = chosen.join(table, on=key, how="left", maintain_order="left").select(known).to_dicts()
    return Golden(_body(rows), _body(rows[:1]), chosen["score"].to_numpy())


def _body(rows: list[dict[str, object]]) -> bytes:
    return to_json({"rows": rows})
