"""From rows to scores: history looked up as of each row's moment, the same features as in training, and batching."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
import polars as pl
from numpy.typing import NDArray
from pandera.polars import DataFrameSchema

from .. import files
from ..artifact import score
from ..errors import UserError
from ..project import registered
from .schema import arrays

# DOC serving.store: What was known at a moment: the serving side of `Online.history`. The embedded store reads
# `models/online/` into memory. To answer from a feature store instead (Feast, Redis, a stream), write a class with
# the same `lookup`: take the keys from `columns`, ask the store (Feast: `get_online_features`), give the same names
# back. Pass it to `Scorer` in `service.py`; nothing else changes.

MEND = "run `make pipeline`"
Columns = Mapping[str, NDArray[Any]]


class OnlineStore(Protocol):
    """Where history is looked up."""

    until: float | None
    """Seconds since 1970 up to which events are in it, if that can be told."""

    def lookup(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Give each value of the histories, shape (N,), as known strictly before each row's own moment."""
        ...


class Embedded:
    """History of the newest partition, from `models/online/`. Later moments see what still holds by then."""

    def __init__(self, folder: Path, time: str | None) -> None:
        self._time = time
        self._tables = [_Table(path) for path in sorted(folder.glob("*.parquet"))]
        self.until = max((table.until for table in self._tables), default=None)

    def lookup(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Look every history up."""
        found: dict[str, NDArray[Any]] = {}
        if self._time:
            now = columns[self._time].astype(np.int64)
            for table in self._tables:
                found |= table.lookup(columns, now)
        return found


class _Table:
    """One history, sorted by key and moment, which together are one number: a lookup is one binary search."""

    def __init__(self, path: Path) -> None:
        rows = files.read_parquet(path, MEND)
        try:
            about = json.loads(pl.read_parquet_metadata(path)["history"])
            self.by, self.until = about["by"], about["until"]
        except (KeyError, ValueError, TypeError):
            raise UserError(f"{path} does not say how its history is looked up: {MEND}") from None
        keys = rows.select(self.by).unique(maintain_order=True).with_row_index("key")
        rows = rows.join(keys, on=self.by).sort("key", "at")
        self.places = {key[1:] if len(key) > 2 else key[1]: key[0] for key in keys.iter_rows()}
        at = rows["at"].cast(pl.Datetime("us")).to_physical().to_numpy()
        self.start = int(at.min()) if len(at) else 0
        self.span = int(at.max(initial=self.start)) - self.start + 2
        self.moments = rows["key"].to_numpy().astype(np.int64) * self.span + (at - self.start)
        self.within = None if about["within"] is None else int(about["within"] * 1e6)
        # After the last row stands what is missing.
        self.values = {column.name: _missing_last(column) for column in rows.drop(*self.by, "at", "key")}

    def lookup(self, columns: Columns, now: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Give the values that hold just before `now`, microseconds since 1970, shape (N,)."""
        keys = [columns[name].tolist() for name in self.by]
        place = np.array([self.places.get(key, -1) for key in (keys[0] if len(keys) == 1 else zip(*keys, strict=True))])
        first = place * self.span
        moment = first + np.minimum(np.maximum(now - self.start, 0), self.span - 1)  # np.clip takes thrice as long
        found = self.moments.searchsorted(moment) - 1
        held = (place >= 0) & (self.moments[found] >= first)
        if self.within is not None:
            held &= now - self.start - (self.moments[found] - first) <= self.within  # `moment` may be cut off
        found[~held] = len(self.moments)
        return {name: values[found] for name, values in self.values.items()}


def _missing_last(column: pl.Series) -> NDArray[Any]:
    if column.dtype == pl.String:
        return np.append(column.fill_null("").to_numpy(), "")
    if column.dtype.is_integer():
        return np.append(column.to_numpy(), 0)
    return np.append(column.to_numpy(), np.asarray([np.nan], column.to_numpy().dtype))


# DOC serving.scorer: From rows to scores, by the same model and the same `derive` as training; requests that meet are
# scored together.

Rows = list[dict[str, Any]]
Scores = NDArray[np.float32]


class Scorer:
    """Scores rows of the contract as known at their own moment."""

    def __init__(self, session: ort.InferenceSession, store: OnlineStore, schema: DataFrameSchema) -> None:
        self._session, self._store, self._schema = session, store, schema

    def __call__(self, rows: Rows) -> Scores:
        """Give the probability of the label for each row, shape (N,)."""
        columns = arrays(self._schema, rows)
        known = columns | self._store.lookup(columns)
        return score(self._session, known | registered().derive(known))


class Batcher:
    """Adaptive batching without waiting: what arrived while the last batch was scored forms the next one.

    A batch is what one turn of the event loop has read, so an idle service adds no latency, and a busy one shares the
    cost of a call among requests.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._score = scorer
        self._waiting: list[tuple[Rows, asyncio.Future[Scores]]] = []

    async def __call__(self, rows: Rows) -> Scores:
        """Score `rows` with whatever else is waiting."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._run)
        answer: asyncio.Future[Scores] = loop.create_future()
        self._waiting.append((rows, answer))
        return await answer

    def _run(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            scores = self._score([row for rows, _ in batch for row in rows])
        except Exception as error:  # noqa: BLE001, told to each who waits
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        start = 0
        for rows, answer in batch:
            if not answer.done():  # whoever hung up waits no more
                answer.set_result(scores[start : start + len(rows)])
            start += len(rows)
