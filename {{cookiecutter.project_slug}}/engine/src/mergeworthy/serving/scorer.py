"""From rows to scores: history is looked up as of each row's moment, then the model of the pipeline scores the row.

The features are those of training, by the same `derive`. `OnlineStore` is the serving side of `Online.history`:
`EmbeddedStore` reads `models/online/` into memory. To answer from a feature store instead (Feast, Redis, a stream),
write a class with the same `lookup`: take the keys from `columns`, query the store (Feast: `get_online_features`), and
return values under the same names. Pass it to `Scorer` in `app.py`; nothing else changes.
"""

import asyncio
import json
from collections.abc import Mapping
from itertools import chain
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
from .schema import numpy_types, to_arrays

HOW_TO_FIX = "run `make pipeline`"
Columns = Mapping[str, NDArray[Any]]
Values = Mapping[str, list[Any]]
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
        tables = [_HistoryTable(path) for path in sorted(folder.glob("*.parquet"))]
        self.until = max((table.until for table in tables), default=None)
        self._index = _Index(tables) if tables and time else None

    def lookup(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Return the values of all histories, shape (N,)."""
        if self._index is None or self._time is None:
            return {}
        return self._index.lookup(columns, columns[self._time].astype("datetime64[us]", copy=False).view(np.int64))


class _HistoryTable:
    """The file of one history: rows by key and moment, and how long a value is valid (microseconds)."""

    def __init__(self, path: Path) -> None:
        self.rows = files.read_parquet(path, HOW_TO_FIX)
        try:
            metadata = json.loads(pl.read_parquet_metadata(path)["history"])
            self.by: list[str] = metadata["by"]
            self.until, within = metadata["until"], metadata["within"]
        except (KeyError, ValueError, TypeError):
            raise UserError(f"{path} lacks the metadata `history` that a lookup needs: {HOW_TO_FIX}") from None
        self.within = np.iinfo(np.int64).max if within is None else int(within * 1e6)
        self.rows = self.rows.drop_nulls(self.by).with_columns(pl.col("at").cast(pl.Datetime("us")).to_physical())

    @property
    def key(self) -> tuple[tuple[str, pl.DataType], ...]:
        """Names and types of the columns of its key: tables that share them share the search of the key."""
        return tuple((name, self.rows.schema[name]) for name in self.by)


class _Index:
    """All histories in one sorted array of integers, so that one binary search looks a row up in all of them.

    The integer of a row of a history encodes history, key and moment. Row 0, below all of them, is the missing value.
    """

    def __init__(self, tables: list[_HistoryTable]) -> None:
        self._moments = np.unique(np.concatenate([table.rows["at"].to_numpy() for table in tables]))
        self._step = len(self._moments) + 1
        groups: dict[Any, list[_HistoryTable]] = {}
        for table in tables:
            groups.setdefault(table.key, []).append(table)
        codes, at, values = [np.array([-1])], [np.array([0])], dict[Any, list[tuple[str, int, NDArray[Any]]]]()
        self._keys: list[tuple[list[str], dict[Any, int]]] = []
        group, base, offset, within = list[int](), list[int](), list[int](), list[int]()
        first_key, first_row = 0, 1
        for number, members in enumerate(groups.values()):
            by = members[0].by
            keys = pl.concat([table.rows.select(by) for table in members]).unique(maintain_order=True)
            numbers = {key if len(by) > 1 else key[0]: index for index, key in enumerate(keys.iter_rows())}
            self._keys.append((by, numbers))
            for table in members:
                rows = table.rows.join(keys.with_row_index("key"), on=by).sort("key", "at", maintain_order=True)
                moments = rows["at"].to_numpy()
                codes.append((rows["key"].to_numpy().astype(np.int64) + first_key) * self._step)
                codes[-1] += self._moments.searchsorted(moments)
                at.append(moments)
                for column in rows.drop(*by, "at", "key"):
                    array = _with_missing_first(column)
                    values.setdefault(array.dtype, []).append((column.name, len(group), array))
                group.append(number)
                base.append(first_key)
                offset.append(first_row - 1)
                within.append(table.within)
                first_key += len(numbers) + 1  # the last is that of unknown keys, which has no row
                first_row += len(moments)
        self._codes, self._at, self._group = np.concatenate(codes), np.concatenate(at), np.array(group)
        self._base, self._offset, self._within = (np.array(each)[:, None] for each in (base, offset, within))
        self._blocks = [_Block(columns) for columns in values.values()]

    def lookup(self, columns: Columns, now: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return the values that are valid just before `now`, microseconds since 1970, shape (N,)."""
        numbers = []
        for by, known in self._keys:
            keys = [columns[name].tolist() for name in by]
            get, unknown = known.get, len(known)
            numbers.append([get(key, unknown) for key in (keys[0] if len(keys) == 1 else zip(*keys, strict=True))])
        first = (np.array(numbers)[self._group] + self._base) * self._step
        row = self._codes.searchsorted(first + self._moments.searchsorted(now)) - 1  # (histories, N)
        is_valid = (self._codes[row] >= first) & (now - self._at[row] <= self._within)
        row = (row - self._offset) * is_valid
        values: dict[str, NDArray[Any]] = {}
        for block in self._blocks:
            values.update(zip(block.names, block.values[row[block.histories] + block.starts], strict=True))
        return values


class _Block:
    """All columns of one type, one after the other in one array."""

    def __init__(self, columns: list[tuple[str, int, NDArray[Any]]]) -> None:
        """Take name, number of the history and values of each column, the missing value first."""
        arrays = [values for _, _, values in columns]
        self.names = [name for name, _, _ in columns]
        self.histories = np.array([history for _, history, _ in columns])
        self.values = np.concatenate(arrays)
        self.starts = np.cumsum([0, *map(len, arrays[:-1])])[:, None]


def _with_missing_first(column: pl.Series) -> NDArray[Any]:
    if column.dtype == pl.String:
        return np.append(np.array([""], object), column.fill_null("").to_numpy())
    values = column.to_numpy()
    return np.append(np.array([0 if column.dtype.is_integer() else np.nan], values.dtype), values)


class Scorer:
    """Scores valid rows of a request, each as of its own moment."""

    def __init__(self, session: ort.InferenceSession, store: OnlineStore, schema: DataFrameSchema) -> None:
        self._session, self._store, self._types = session, store, numpy_types(schema)

    def __call__(self, columns: Values) -> Scores:
        """Return the scores of N rows, which are given as columns of N values: the first axis has the length N."""
        arrays: dict[str, NDArray[Any]] = to_arrays(self._types, columns)
        arrays |= self._store.lookup(arrays)
        return score(self._session, arrays | registered().derive(arrays), len(next(iter(columns.values()))))


class Batcher:
    """Adaptive batching without waiting: requests that arrive while a batch is scored form the next batch.

    A batch is what one turn of the event loop has read, so an idle service adds no latency, and a busy one shares the
    cost of a call among requests.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.score = scorer
        """Scores a request that is alone, at once."""
        self._waiting: list[tuple[Values, int, asyncio.Future[Scores]]] = []

    async def __call__(self, columns: Values, count: int) -> Scores:
        """Return the scores of `count` rows, scored together with whatever else is waiting."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._run)
        answer: asyncio.Future[Scores] = loop.create_future()
        self._waiting.append((columns, count, answer))
        return await answer

    def _run(self) -> None:
        batch, self._waiting = self._waiting, []
        parts = [columns for columns, _, _ in batch]
        try:
            scores = self.score({name: [*chain.from_iterable(part[name] for part in parts)] for name in parts[0]})
        except Exception as error:  # noqa: BLE001, each request of the batch raises it
            for _, _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        start = 0
        for _, count, answer in batch:
            if not answer.done():  # a client that disconnected has cancelled its own
                answer.set_result(scores[start : start + count])
            start += count
