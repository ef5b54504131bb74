"""The prediction log: every answer with its inputs, in segments that are bounded, survive a kill, and are shipped."""

import contextlib
import os
import random
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from ..config.infra import PredictionLog
from ..process import Deadline, shown, within
from ..text import say

# DOC serving.log: The prediction log: every answer with its inputs, as newline-delimited JSON in segments that
# rotate. A line is a request: time, id, model identity, and inputs and scores column by column. A thread writes once
# a second, so that no request waits for a disk, and a killed process loses at most its last second. Another thread
# copies closed segments to object storage, if infra.yaml names one (`shipping.py`).

FLUSH_SECONDS = 1.0
SEGMENT_SECONDS = 3600.0  # a segment is closed at this age, however small: what is copied is at most so old
ORPHAN_SECONDS = 24 * SEGMENT_SECONDS  # nobody writes to a segment that was left alone for so long
MB = 1_000_000


class Log:
    """Notes answers; call `close` at shutdown. `lost` is called with the number of answers that could not be noted."""

    def __init__(
        self,
        settings: PredictionLog,
        identity: dict[str, str],
        columns: Sequence[str],
        lost: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._settings, self._identity, self._columns, self._lost = settings, identity, columns, lost
        self._folder, self._lines = settings.place, deque[bytes]()
        self._segment: Path | None = None
        self._begun = 0.0
        self._shipper = Shipper(settings) if settings.url and settings.sample > 0 else None
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
        if self._shipper:
            self._shipper.put(*self._abandoned())
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush()
            if self._segment and time.monotonic() - self._begun > SEGMENT_SECONDS:
                self._rotate()
        self._flush()
        self._rotate()
        if self._shipper:
            self._shipper.close()

    def _flush(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if not lines:
            return
        try:
            self._write(b"".join(lines))
            self._prune()
        except OSError as error:
            self._lost(len(lines))
            say(f"warning: {len(lines)} predictions were not noted: {error}", file=sys.stderr)

    def _write(self, content: bytes) -> None:
        """Append to the segment, all or nothing: half a line would swallow the next one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._shipper and _size(self._folder.glob("*.ndjson")) > self._settings.keep_mb * MB:
            raise OSError(
                f"{self._folder} holds more than keep_mb that {shown(str(self._settings.url))} did not take yet"
            )
        if self._segment is None:
            self._segment, self._begun = self._folder / _name(), time.monotonic()
        with self._segment.open("ab", buffering=0) as file:
            whole, left = file.tell(), memoryview(content)
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(whole)
                self._rotate()  # if that failed too, the next line begins in a new file
                raise
        if self._segment.stat().st_size >= self._settings.segment_mb * MB:
            self._rotate()

    def _rotate(self) -> None:
        closed, self._segment = self._segment, None
        if closed and self._shipper:
            self._shipper.put(closed)

    def _prune(self) -> None:
        """Delete the oldest segments beyond `keep_mb`: never the one being written, nor one that is yet to be sent."""
        folder = self._folder / SENT if self._shipper else self._folder
        segments = sorted(folder.glob("*.ndjson"))
        size = _size(segments)
        for path in segments:
            if size <= self._settings.keep_mb * MB or path == self._segment:
                return
            size -= _size([path])
            path.unlink(missing_ok=True)

    def _abandoned(self) -> list[Path]:
        """Return segments that a killed process of this host, or of one that is gone, could not send any more."""
        host, old = socket.gethostname(), time.time() - ORPHAN_SECONDS
        found = []
        for path in sorted(self._folder.glob("*.ndjson")):
            _, of, process = (*path.stem.rsplit("_", 2), "", "")[:3]
            mine = of == host and process.isdecimal() and not _alive(int(process))
            with contextlib.suppress(FileNotFoundError):  # a process beside this one has sent it
                if mine or path.stat().st_mtime < old:
                    found.append(path)
        return found


def _size(paths: Iterable[Path]) -> int:
    size = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # pods share the folder
            size += path.stat().st_size
    return size


def _name() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}_{socket.gethostname()}_{os.getpid()}.ndjson"


def _alive(pid: int) -> bool:
    if pid == os.getpid():  # in a container the former process had the same
        return False
    with contextlib.suppress(ProcessLookupError, OverflowError):
        os.kill(pid, 0)
        return True
    return False


# DOC serving.shipping: Closed segments of the prediction log are copied to object storage, and tried again until the
# store has them. A segment that was copied moves to the folder `sent` beside the others, so that what is yet to be
# sent can be seen, also by the next process.

SENT = "sent"
RETRY_SECONDS, LONGEST_SECONDS = 10.0, 600.0  # after a failure; twice as long after each further one
LAST_SECONDS = 8.0  # that the last copies may take at shutdown


class Shipper:
    """Copies segments in a thread of its own: a store that hangs or is down holds up neither requests nor the log."""

    def __init__(self, settings: PredictionLog, retry: float = RETRY_SECONDS) -> None:
        self._settings, self._retry = settings, retry
        self._waiting: dict[Path, None] = {}  # in the order of their coming
        self._news = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="prediction-log-shipping", daemon=True)
        self._thread.start()

    def put(self, *segments: Path) -> None:
        """Take closed segments."""
        with self._news:
            self._waiting |= dict.fromkeys(segments)
            self._news.notify()

    def close(self) -> None:
        """Try all that is left once more; what does not get through in time is the next process's."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(LAST_SECONDS)

    def _work(self) -> None:
        pause = 0.0
        while True:
            with self._news:
                self._news.wait_for(lambda: self._closing or self._waiting, None)
                if pause:
                    self._news.wait_for(lambda: self._closing, pause)
                last, segments = self._closing, list(self._waiting)
            done = [path for path in segments if self._send(path)]
            with self._news:
                for path in done:
                    del self._waiting[path]
            if last:
                return
            failed = len(done) < len(segments)
            pause = min(max(2 * pause, self._retry), LONGEST_SECONDS) if failed else 0.0

    def _send(self, path: Path) -> bool:
        """Copy one segment unless the store has it; return whether the store has it now."""
        url = str(self._settings.url)
        try:
            if path.exists():  # otherwise a process beside this one has sent it
                within(Deadline.EXCHANGE, "the store", lambda: self._copy(path, url))
                (path.parent / SENT).mkdir(exist_ok=True)
                path.rename(path.parent / SENT / path.name)
        except Exception as error:  # noqa: BLE001 - each store raises its own kind
            say(shown(f"warning: {path.name} was not copied to {url} yet: {error}"), file=sys.stderr)
            return False
        return True

    def _copy(self, path: Path, url: str) -> None:
        import fsspec  # only who ships needs it

        files, folder = fsspec.url_to_fs(url, **self._settings.options)
        target = f"{folder.rstrip('/')}/{path.name}"
        if not files.exists(target) or files.size(target) != path.stat().st_size:
            files.makedirs(folder, exist_ok=True)
            files.put_file(str(path), target)
