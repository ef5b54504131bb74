"""The prediction log: every answer with its inputs, as newline-delimited JSON in segments that rotate.

A line is a request: time, id, model identity, and inputs and scores column by column. A thread writes once a second, so
that no request waits for a disk, and a killed process loses at most its last second.
"""

import contextlib
import os
import random
import socket
import sys
import threading
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from ..settings import PredictionLog
from .shipping import ship

FLUSH_SECONDS = 1.0
MB = 1_000_000


class Log:
    """Notes answers; call `close` at shutdown."""

    def __init__(self, settings: PredictionLog, identity: dict[str, str], columns: Sequence[str]) -> None:
        self._settings, self._identity, self._columns = settings, identity, columns
        self._folder, self._lines = settings.place, deque[bytes]()
        self._segment: Path | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)
        if settings.sample > 0:
            self._thread.start()

    def add(self, request_id: str, rows: list[dict[str, Any]], scores: list[float]) -> None:
        """Note one answer, if it falls into the sample."""
        if random.random() >= self._settings.sample:
            return
        inputs = {name: [row[name] for row in rows] for name in self._columns}
        told = {"time": datetime.now(UTC), "request_id": request_id, **self._identity}
        self._lines.append(to_json(told | {"inputs": inputs, "score": scores}) + b"\n")

    def close(self) -> None:
        """Write what is left, close the segment, and copy it where segments go."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        ship(self._settings, self._abandoned())
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()
        self._rotate()

    def _flush(self) -> None:
        lines = b"".join(self._lines.popleft() for _ in range(len(self._lines)))
        if not lines:
            return
        self._segment = self._segment or self._folder / _name()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._segment.open("ab", buffering=0) as file:
                file.write(lines)
            if self._segment.stat().st_size >= self._settings.segment_mb * MB:
                self._rotate()
            self._prune()
        except OSError as error:
            print(f"warning: predictions were not noted: {error}", file=sys.stderr, flush=True)

    def _rotate(self) -> None:
        closed, self._segment = self._segment, None
        ship(self._settings, [closed] if closed else [])

    def _prune(self) -> None:
        """Delete the oldest segments beyond `keep_mb`, never the one that is being written."""
        segments = sorted(self._folder.glob("*.ndjson"))
        size = sum(path.stat().st_size for path in segments)
        for path in segments:
            if size <= self._settings.keep_mb * MB or path == self._segment:
                return
            size -= path.stat().st_size
            path.unlink(missing_ok=True)

    def _abandoned(self) -> list[Path]:
        """Segments of this host whose process was killed before it could copy them."""
        mine = self._folder.glob(f"*_{socket.gethostname()}_*.ndjson")
        return [path for path in mine if not _alive(int(path.stem.rsplit("_", 1)[1]))]


def _name() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}_{socket.gethostname()}_{os.getpid()}.ndjson"


def _alive(pid: int) -> bool:
    if pid == os.getpid():  # in a container the former process had the same
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
