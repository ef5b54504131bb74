"""The prediction log: every answer with its inputs, as newline-delimited JSON in segments.

A line is a request: time, id, model identity, and inputs and scores column by column. A thread writes once a second,
so that no request waits for a disk, and a killed process loses at most its last second. Segments rotate, and the
oldest are deleted beyond `keep_mb`.

If infra.yaml names an object store (`serving.log.url`), another thread uploads closed segments and retries until the
store has them. An uploaded segment moves to the folder `sent` beside the others, so the files outside it are those
that are still to be uploaded, by this process or the next.
"""

import contextlib
import os
import random
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from ..config.infra import PredictionLog
from ..process import Deadline, shown, within
from ..text import say

FLUSH_SECONDS = 1.0
SEGMENT_SECONDS = 3600.0  # a segment is closed at this age, whatever its size, and uploaded then at the latest
ORPHAN_SECONDS = 24 * SEGMENT_SECONDS  # a segment untouched for so long belongs to no running process
RETRY_SECONDS = 10.0  # after a failed upload; doubled after each further failure
MAX_RETRY_SECONDS = 600.0
FINAL_UPLOAD_SECONDS = 8.0  # for the last uploads, at shutdown
SENT = "sent"
SEGMENTS = "*.ndjson"
MB = 1_000_000


class Log:
    """The prediction log of this process; call `close` at shutdown.

    `lost` is called with the number of answers that could not be written.
    """

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
        self._segment_start = 0.0
        self._uploader = Uploader(settings) if settings.url and settings.sample > 0 else None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)
        if settings.sample > 0:
            self._thread.start()

    def add(self, request_id: str, inputs: Mapping[str, list[Any]], scores: list[Any]) -> None:
        """Queue one answer for writing, if it falls into the sample; inputs are columns of a value per row, by name."""
        if self._settings.sample < 1 and random.random() >= self._settings.sample:
            return
        line: dict[str, Any] = {"time": datetime.now(UTC), "request_id": request_id, **self._identity}
        line["inputs"] = {name: inputs[name] for name in self._columns}
        line["score"] = scores
        self._lines.append(to_json(line) + b"\n")

    def close(self) -> None:
        """Write what is queued, close the segment and upload it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        if self._uploader:
            self._uploader.put(*self._abandoned())
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush()
            if self._segment and time.monotonic() - self._segment_start > SEGMENT_SECONDS:
                self._rotate()
        self._flush()
        self._rotate()
        if self._uploader:
            self._uploader.close()

    def _flush(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if not lines:
            return
        try:
            self._write(b"".join(lines))
            self._prune()
        except OSError as error:
            self._lost(len(lines))
            say(f"warning: {len(lines)} predictions were not logged: {error}", file=sys.stderr)

    def _write(self, content: bytes) -> None:
        """Append to the segment, all or nothing: after half a line the next one could not be read."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._uploader and _size(self._folder.glob(SEGMENTS)) > self._settings.keep_mb * MB:
            raise OSError(
                f"{self._folder} holds more than keep_mb of segments that were not uploaded yet to "
                f"{shown(str(self._settings.url))}"
            )
        if self._segment is None:
            self._segment, self._segment_start = self._folder / _segment_name(), time.monotonic()
        with self._segment.open("ab", buffering=0) as file:
            size, rest = file.tell(), memoryview(content)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(size)
                self._rotate()  # if the truncation failed too, the next line begins in a new file
                raise
        if self._segment.stat().st_size >= self._settings.segment_mb * MB:
            self._rotate()

    def _rotate(self) -> None:
        closed, self._segment = self._segment, None
        if closed and self._uploader:
            self._uploader.put(closed)

    def _prune(self) -> None:
        """Delete the oldest segments beyond `keep_mb`, except the open one and those still to be uploaded."""
        folder = self._folder / SENT if self._uploader else self._folder
        segments = sorted(folder.glob(SEGMENTS))
        size = _size(segments)
        for path in segments:
            if size <= self._settings.keep_mb * MB or path == self._segment:
                return
            size -= _size([path])
            path.unlink(missing_ok=True)

    def _abandoned(self) -> list[Path]:
        """Return segments that their process cannot upload any more: it was killed, or its host is gone."""
        host, oldest = socket.gethostname(), time.time() - ORPHAN_SECONDS
        abandoned = []
        for path in sorted(self._folder.glob(SEGMENTS)):
            _, writer_host, pid = (*path.stem.rsplit("_", 2), "", "")[:3]
            killed = writer_host == host and pid.isdecimal() and not _is_running(int(pid))
            with contextlib.suppress(FileNotFoundError):  # another process has uploaded it meanwhile
                if killed or path.stat().st_mtime < oldest:
                    abandoned.append(path)
        return abandoned


class Uploader:
    """A thread that uploads segments: neither requests nor the log wait for a store that hangs or is down."""

    def __init__(self, settings: PredictionLog, retry: float = RETRY_SECONDS) -> None:
        self._settings, self._retry = settings, retry
        self._waiting: dict[Path, None] = {}  # in order of arrival
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="prediction-log-upload", daemon=True)
        self._thread.start()

    def put(self, *segments: Path) -> None:
        """Queue closed segments."""
        with self._changed:
            self._waiting |= dict.fromkeys(segments)
            self._changed.notify()

    def close(self) -> None:
        """Try once more to upload what is queued; leave what takes too long to the next process."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(FINAL_UPLOAD_SECONDS)

    def _work(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._waiting, None)
                if pause:
                    self._changed.wait_for(lambda: self._closing, pause)
                last_turn, segments = self._closing, list(self._waiting)
            uploaded = [path for path in segments if self._upload(path)]
            with self._changed:
                for path in uploaded:
                    del self._waiting[path]
            if last_turn:
                return
            failed = len(uploaded) < len(segments)
            pause = min(max(2 * pause, self._retry), MAX_RETRY_SECONDS) if failed else 0.0

    def _upload(self, path: Path) -> bool:
        """Upload one segment unless the store has it; return whether the store has it now."""
        url = str(self._settings.url)
        try:
            if path.exists():  # otherwise another process has uploaded it
                within(Deadline.EXCHANGE, "the store", lambda: self._copy(path, url))
                (path.parent / SENT).mkdir(exist_ok=True)
                path.rename(path.parent / SENT / path.name)
        except Exception as error:  # noqa: BLE001 - each store raises its own kind
            say(shown(f"warning: {path.name} was not copied to {url} yet: {error}"), file=sys.stderr)
            return False
        return True

    def _copy(self, path: Path, url: str) -> None:
        import fsspec  # needed only if segments are uploaded

        store, folder = fsspec.url_to_fs(url, **self._settings.options)
        target = f"{folder.rstrip('/')}/{path.name}"
        if not store.exists(target) or store.size(target) != path.stat().st_size:
            store.makedirs(folder, exist_ok=True)
            store.put_file(str(path), target)


def _size(paths: Iterable[Path]) -> int:
    size = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # pods share the folder
            size += path.stat().st_size
    return size


def _segment_name() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}_{socket.gethostname()}_{os.getpid()}.ndjson"


def _is_running(pid: int) -> bool:
    if pid == os.getpid():  # in a container the former process had the same id
        return False
    with contextlib.suppress(ProcessLookupError, OverflowError):
        os.kill(pid, 0)
        return True
    return False
