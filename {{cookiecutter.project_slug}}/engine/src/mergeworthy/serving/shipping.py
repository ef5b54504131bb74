"""Closed segments of the prediction log are copied to object storage, and tried again until the store has them.

A segment that was copied moves to the folder `sent` beside the others, so that what is yet to be sent can be seen, also
by the next process.
"""

import sys
import threading
from pathlib import Path

from ..config import PredictionLog
from ..process import Deadline, shown, within
from ..text import say

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
