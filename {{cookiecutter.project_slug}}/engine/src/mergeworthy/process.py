"""What is not ours (servers, and the programs that speak to them) has a deadline, and is named if it misses it.

`call` is for programs, `within` for libraries, `read` for files. The deadlines stand here alone; ANSWER_SECONDS,
EXCHANGE_SECONDS and TRANSFER_SECONDS in the environment change them, for a slow line.
"""

import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from enum import Enum
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from .errors import UserError

Result = TypeVar("Result")
# git itself ends a transfer that stands still for a minute.
SILENCE = {"GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": "60"}
GRACE = 5  # seconds that a program has to end by itself, and to end its helpers
BLOCK = 2**20  # bytes of a file that have to arrive within the time of an answer


class SilentError(UserError):
    """A server, or a program that speaks to one, that did not answer in time."""


class Deadline(Enum):
    """How long, in seconds, something outside may take."""

    GLANCE = 5  # `make doctor` and what is optional: whether anybody is there
    ANSWER = 60  # one question
    EXCHANGE = 600  # many questions, or the commits of a branch
    TRANSFER = 21_600  # data, models and images

    @property
    def seconds(self) -> float:
        """What the environment says, or else the default; raise `UserError` if it is no number above 0."""
        name = f"{self.name}_SECONDS"
        text = os.environ.get(name) or str(self.value)
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0
        if not 0 < seconds < threading.TIMEOUT_MAX:
            raise UserError(f"{name}: must be a number of seconds above 0, not {text!r}")
        return seconds

    def missed(self, who: str) -> SilentError:
        """Return the error that says who did not answer."""
        name = "" if self is Deadline.GLANCE else f" ({self.name}_SECONDS)"
        return SilentError(f"{who} did not answer within {self.seconds:g} s{name}: is it up, and within reach?")


def call(
    command: Sequence[str],
    who: str,
    deadline: Deadline,
    *,
    text: str | None = None,
    environment: Mapping[str, str] | None = None,
    shown: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a program that speaks to `who`, with `text` as its input; return what it wrote, or let it be seen (`shown`).

    Raises `SilentError` if the deadline is missed, `FileNotFoundError` if there is no such program.
    """
    with ExitStack() as files:
        # Files, not pipes: a helper that outlives the program would hold a pipe open, and reading it would not end.
        said, error = (None, None) if shown else (_file(files), _file(files))
        # What is shown is no result of this command: it goes to standard error.
        given = _file(files) if text is not None else None
        if given and text is not None:
            given.write(text.encode())
            given.seek(0)
        whole = {**os.environ, **(environment or {})}
        done = subprocess.Popen(command, stdin=given, stdout=said or sys.stderr, stderr=error, env=whole)
        try:
            done.wait(deadline.seconds)
        except subprocess.TimeoutExpired:
            raise deadline.missed(who) from None
        finally:
            _end(done)
        return subprocess.CompletedProcess(command, done.returncode, _read(said), _read(error))


def within(deadline: Deadline, who: str, function: Callable[[], Result]) -> Result:
    """Return what a library's call gives, or raise what it raises; raise `SilentError` if the deadline is missed.

    The call that nobody waits for any more goes on in a thread that does not keep the process alive.
    """
    answers: queue.SimpleQueue[tuple[Result, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((function(), None))
        except BaseException as error:  # noqa: BLE001 (it is raised where it is waited for)
            answers.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        result, error = answers.get(timeout=deadline.seconds)
    except queue.Empty:
        raise deadline.missed(who) from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def read(file: IO[bytes], who: str) -> bytes:
    """Return the rest of a file at `who`; raise `SilentError` if no whole block arrives in the time of an answer."""
    blocks = iter(lambda: within(Deadline.ANSWER, who, lambda: file.read(BLOCK)), b"")
    return b"".join(blocks)


class Patient:
    """An object of a library that speaks to `who`: each call of its methods has the same deadline."""

    def __init__(self, inner: Any, who: str, deadline: Deadline = Deadline.ANSWER) -> None:
        self._inner, self._who, self._deadline = inner, who, deadline

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found
        return lambda *words, **more: within(self._deadline, self._who, lambda: found(*words, **more))


def _file(files: ExitStack) -> IO[bytes]:
    return files.enter_context(tempfile.TemporaryFile())


def _read(file: IO[bytes] | None) -> str:
    if file is None:
        return ""
    file.seek(0)
    return file.read().decode(errors="replace")


def _end(program: subprocess.Popen[bytes]) -> None:
    """End a program that still runs: politely first, so that it ends its own helpers."""
    if program.poll() is None:
        program.terminate()
        try:
            program.wait(GRACE)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def shown(text: str) -> str:
    """Return text without the credentials of any address in it."""
    return re.sub(r"((?:password|passwd|secret|token)\w*=)[^&\s]+", r"\1…", re.sub(r"://[^/\s]*@", "://", text))


def local(address: str) -> bool:
    """Tell whether an address is a path of this machine, which nobody has to answer for."""
    return "://" not in address or address.startswith(("file://", "local://"))


def proxy(uri: str) -> str:
    """Return the words that name the proxy between this machine and `uri`, and the way past it; empty without one."""
    parts = urlsplit(uri)
    through = urllib.request.getproxies().get(parts.scheme)
    if not through or not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return ""
    return f" by way of the proxy {through} ({parts.scheme.upper()}_PROXY; NO_PROXY={parts.hostname} goes past it)"
