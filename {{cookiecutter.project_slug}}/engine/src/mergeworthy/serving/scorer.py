"""From rows to scores, by the same model and the same `derive` as training; requests that meet are scored together."""

import asyncio
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pandera.polars import DataFrameSchema

from ..artifact import score
from ..project import registered
from .contract import arrays
from .store import OnlineStore

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
