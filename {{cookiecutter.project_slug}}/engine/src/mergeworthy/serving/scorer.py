"""From rows to scores: history is looked up as of each row's moment, then the model of the pipeline scores the row.

The features are those of training, by the same `derive`. `OnlineStore` is the serving side of `Online.history`:
`EmbeddedStore` reads `models/online/` into memory. To answer from a feature store instead (Feast, Redis, a stream),
write a class with the same `lookup`: take the keys from `columns`, query the store (Feast: `get_online_features`), and
return values under the same names. Pass it to `Scorer` in `start.py`; nothing else changes.
"""

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

HOW_TO_FIX = "run `make pipeline`"
Columns = Mapping[str, NDArray[Any]]
Rows = list[dict[str, Any]]
Scores = NDArray[np.float32]


class OnlineStore(Protocol):
    """A store in which history is looked up."""

    until: float | None
    """Seconds since 1970 up to which the store has events; None if it cannot be determined."""

    def lookup(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Return each value of the histories, shape (N,), as known strictly before each row's own moment."""
        ...


class EmbeddedStore:
    """History of the newest partition, from `models/online/`. A later moment sees the values that are still valid."""

    def __init__(self, folder: Path, time: str | None) -> None:
        self._time = time
        self._tables = [_HistoryTable(path) for path in sorted(folder.glob("*.parquet"))]
        self.until = max((table.until for table in self._tables), default=None)

    def lookup(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Return the values of all histories, shape (N,)."""
        values: dict[str, NDArray[Any]] = {}
        if self._time:
            now = columns[self._time].astype(np.int64)
            for table in self._tables:
                values |= table.lookup(columns, now)
        return values


class _HistoryTable:
    """One history, sorted by key and moment. Both are encoded in one integer, so a lookup is one binary search."""

    def __init__(self, path: Path) -> None:
        rows = files.read_parquet(path, HOW_TO_FIX)
        try:
            metadata = json.loads(pl.read_parquet_metadata(path)["history"])
            self.by, self.until = metadata["by"], metadata["until"]
        except (KeyError, ValueError, TypeError):
            raise UserError(f"{path} lacks the metadata `history` that a lookup needs: {HOW_TO_FIX}") from None
        keys = rows.select(self.by).unique(maintain_order=True).with_row_index("key")
        rows = rows.join(keys, on=self.by).sort("key", "at")
        self.key_numbers = {key[1:] if len(key) > 2 else key[1]: key[0] for key in keys.iter_rows()}
        at = rows["at"].cast(pl.Datetime("us")).to_physical().to_numpy()
        self.start = int(at.min()) if len(at) else 0
        self.span = int(at.max(initial=self.start)) - self.start + 2
        self.moments = rows["key"].to_numpy().astype(np.int64) * self.span + (at - self.start)
        self.within = None if metadata["within"] is None else int(metadata["within"] * 1e6)
        # Behind the last row is one more, the missing value.
        self.values = {column.name: _with_missing_last(column) for column in rows.drop(*self.by, "at", "key")}

    def lookup(self, columns: Columns, now: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return the values that are valid just before `now`, microseconds since 1970, shape (N,)."""
        keys = [columns[name].tolist() for name in self.by]
        number = np.array(
            [self.key_numbers.get(key, -1) for key in (keys[0] if len(keys) == 1 else zip(*keys, strict=True))]
        )
        first = number * self.span
        moment = first + np.minimum(np.maximum(now - self.start, 0), self.span - 1)  # np.clip takes thrice as long
        row = self.moments.searchsorted(moment) - 1
        valid = (number >= 0) & (self.moments[row] >= first)
        if self.within is not None:
            # From `now`, since `moment` may be cut off at the end of the history.
            valid &= now - self.start - (self.moments[row] - first) <= self.within
        row[~valid] = len(self.moments)
        return {name: values[row] for name, values in self.values.items()}


def _with_missing_last(column: pl.Series) -> NDArray[Any]:
    if column.dtype == pl.String:
        return np.append(column.fill_null("").to_numpy(), "")
    if column.dtype.is_integer():
        return np.append(column.to_numpy(), 0)
    return np.append(column.to_numpy(), np.asarray([np.nan], column.to_numpy().dtype))


class Scorer:
    """Scores valid rows of a request, each as of its own moment."""

    def __init__(self, session: ort.InferenceSession, store: OnlineStore, schema: DataFrameSchema) -> None:
        self._session, self._store, self._schema = session, store, schema

    def __call__(self, rows: Rows) -> Scores:
        """Return the scores of each row, shape (N,) or (N, width)."""
        columns = arrays(self._schema, rows)
        with_history = columns | self._store.lookup(columns)
        return score(self._session, with_history | registered().derive(with_history), len(rows))


class Batcher:
    """Adaptive batching without waiting: requests that arrive while a batch is scored form the next batch.

    A batch is what one turn of the event loop has read, so an idle service adds no latency, and a busy one shares the
    cost of a call among requests.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._score = scorer
        self._waiting: list[tuple[Rows, asyncio.Future[Scores]]] = []

    async def __call__(self, rows: Rows) -> Scores:
        """Return the scores of `rows`, scored together with whatever else is waiting."""
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
        except Exception as error:  # noqa: BLE001, each request of the batch raises it
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        start = 0
        for rows, answer in batch:
            if not answer.done():  # a client that disconnected has cancelled its own
                answer.set_result(scores[start : start + len(rows)])
            start += len(rows)
