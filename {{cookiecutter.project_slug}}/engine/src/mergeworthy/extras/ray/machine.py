"""One machine of the cluster at work."""

import os
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ray

from ...config.infra import INFRA
from ...paths import MODEL, TRAINING
from ...stages import checkpoint
from .luggage import Luggage, unpack

STAGE = "mergeworthy.stages.train"


@dataclass(frozen=True)
class News:
    """A line, and files that are new since the last one; at the end the exit status, with the line that says why."""

    line: str
    files: dict[str, bytes]
    status: int | None = None


class Machine:
    """An actor that runs the stage in a folder of its own."""

    def __init__(self, luggage: Luggage) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="train-")
        self.place = Path(self.folder.name)
        unpack(luggage, self.place)
        self.sent: dict[Path, int] = {}
        self.last = ""

    def meeting(self) -> str:
        """Give a place for all machines to meet: a port that is free on this one."""
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def start(self, infra: str) -> None:
        """Start the stage by these settings."""
        (self.place / INFRA).write_text(infra)
        self.stage = subprocess.Popen(
            [sys.executable, "-m", STAGE],
            cwd=self.place,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def news(self) -> News:
        """Wait for the next line, or for the end."""
        line = self.stage.stdout.readline() if self.stage.stdout else ""
        if line:
            self.last = line.rstrip()
            return News(self.last, self._new(*self.place.glob(f"{checkpoint.FOLDER}/*.pt")))
        status = self.stage.wait()
        made = self._new(*(path for path in (self.place / MODEL, self.place / TRAINING) if path.exists()))
        self.folder.cleanup()
        return News(self.last, made, status)

    def _new(self, *paths: Path) -> dict[str, bytes]:
        found = {}
        for path in paths:
            with suppress(FileNotFoundError):  # an end of training takes its checkpoint away
                if self.sent.get(path) != (changed := path.stat().st_mtime_ns):
                    found[path.relative_to(self.place).as_posix()] = path.read_bytes()
                    self.sent[path] = changed
        return found
