"""One run of `act`: start it, read its log while it runs, and leave no process behind."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .invocation import Invocation

Line = dict[str, Any]
TOOLS = ("act", "gh", "git", "openssl")  # what the stand-in and its runs need


@dataclass(frozen=True)
class Watch:
    """When job `job` ("train / report") writes `text`, call `then` once: move a branch, kill or cancel the job."""

    job: str
    text: str
    then: Callable[["Running"], None]


@dataclass
class Running:
    """A run of `act` in progress, and what came of it."""

    process: "subprocess.Popen[str]"
    mark: str
    lines: list[Line] = field(default_factory=list)
    errors: str = ""
    killed: bool = False
    cancelled: bool = False

    def kill(self) -> None:
        """The machine dies: nothing of the job runs on, not even its `always()` steps. The job counts as failed."""
        self.killed = True
        self.process.kill()
        _end(_marked(self.mark))

    def cancel(self) -> None:
        """A person, or a newer run of the same concurrency group, cancels: `always()` steps still run."""
        self.cancelled = True
        before = _marked(self.mark)
        self.process.send_signal(signal.SIGINT)
        _end(before)


def run(invocation: Invocation, watching: Callable[[Running, Line], None], seconds: float) -> Running:
    """Run `act` to its end. After `seconds` it is killed, and TimeoutError raised with the last lines of the log."""
    mark = f"github_{uuid.uuid4()}"
    command = invocation.write(mark)
    errors = invocation.folder / "stderr.txt"
    with errors.open("w") as sink:
        process = subprocess.Popen(
            command, cwd=invocation.folder, env=invocation.runner_environment(), stdout=subprocess.PIPE, stderr=sink,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
    running = Running(process, mark)
    late = threading.Event()

    def stop() -> None:
        late.set()
        running.kill()

    watchdog = threading.Timer(seconds, stop)
    watchdog.start()
    try:
        _read(running, watching)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        _end(_marked(mark))
    if late.is_set():
        last = "".join(line["msg"] for line in running.lines[-20:])
        raise TimeoutError(f"a job ran longer than {seconds:.0f} s; its last lines:\n{last}")
    running.errors = errors.read_text()
    return running


def _read(running: Running, watching: Callable[[Running, Line], None]) -> None:
    assert running.process.stdout is not None
    with running.process.stdout as log:
        for text in log:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"msg": text, "level": "info"}
            running.lines.append(line)
            watching(running, line)
    running.process.wait()


def _marked(mark: str) -> list[int]:
    """Processes of a job, by the mark in their environment, as GitHub's runner finds them."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"RUNNER_TRACKING_ID={mark}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def _end(processes: list[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
