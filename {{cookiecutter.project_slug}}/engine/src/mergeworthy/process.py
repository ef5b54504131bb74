"""Deadlines for servers and for the programs that speak to them; the error names who missed a deadline.

`call` is for programs, `within` for libraries, `read` for files, `on_interruption` for Ctrl-C. All deadlines are
defined here. For a slow network the variables ANSWER_SECONDS, EXCHANGE_SECONDS and TRANSFER_SECONDS change them.
"""

import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from types import FrameType
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from .errors import UserError

Result = TypeVar("Result")
# git ends a transfer by HTTP that has made no progress for a minute.
LOW_SPEED_LIMIT = {"GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": "60"}
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)
GRACE = 5  # seconds that a program has to end itself and its child processes
BLOCK = 2**20  # bytes of a file that have to arrive within the deadline of an answer


class SilentError(UserError):
    """A server, or a program that speaks to one, did not answer in time."""


class Deadline(Enum):
    """The seconds that a server, or a program that speaks to one, may take."""

    GLANCE = 5  # whether a server is up, for `make doctor` and what is optional
    ANSWER = 60  # one question
    EXCHANGE = 600  # many questions, or the commits of a branch
    TRANSFER = 21_600  # data, models and images

    @property
    def seconds(self) -> float:
        """Return the environment's value, or else the default; raise `UserError` if it is no number above 0."""
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
        """Return the error that names who did not answer."""
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
    """Run a program that speaks to `who`, with `text` as its input; return its output, or let it be seen (`shown`).

    Raise `SilentError` if the deadline is missed, `FileNotFoundError` if there is no such program.
    """
    with ExitStack() as files:
        # Files, not pipes: a child process that outlives the program would hold a pipe open, and reading would not end.
        stdout, stderr = (None, None) if shown else (_file(files), _file(files))
        stdin = _file(files) if text is not None else None
        if stdin and text is not None:
            stdin.write(text.encode())
            stdin.seek(0)
        variables = {**os.environ, **(environment or {})}
        # Output that is shown is no result of this command: it goes to standard error.
        program = subprocess.Popen(command, stdin=stdin, stdout=stdout or sys.stderr, stderr=stderr, env=variables)
        try:
            program.wait(deadline.seconds)
        except subprocess.TimeoutExpired:
            raise deadline.missed(who) from None
        finally:
            _end(program)
        return subprocess.CompletedProcess(command, program.returncode, _read(stdout), _read(stderr))


def within(deadline: Deadline, who: str, function: Callable[[], Result]) -> Result:
    """Return the result of a library's call, or raise its error; raise `SilentError` if the deadline is missed.

    A call that missed it goes on in a thread that does not keep the process alive.
    """
    answers: queue.SimpleQueue[tuple[Result, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((function(), None))
        except BaseException as error:  # noqa: BLE001 (the waiting thread raises it)
            answers.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        result, error = answers.get(timeout=deadline.seconds)
    except queue.Empty:
        raise deadline.missed(who) from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


@contextmanager
def on_interruption(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    """Let Ctrl-C and CI's cancelling call `handler` until the block ends."""
    former = {number: signal.signal(number, handler) for number in INTERRUPTIONS}
    try:
        yield
    finally:
        for number, previous in former.items():
            signal.signal(number, previous)


def read(file: IO[bytes], who: str) -> bytes:
    """Return the rest of a file at `who`; raise `SilentError` if a block does not arrive in time."""
    blocks = iter(lambda: within(Deadline.ANSWER, who, lambda: file.read(BLOCK)), b"")
    return b"".join(blocks)


class Patient:
    """An object of a library that speaks to `who`: each call of its methods has the same deadline."""

    def __init__(self, inner: Any, who: str, deadline: Deadline = Deadline.ANSWER) -> None:
        self._inner, self._who, self._deadline = inner, who, deadline

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._inner, name)
        if not callable(member):
            return member
        return lambda *args, **kwargs: within(self._deadline, self._who, lambda: member(*args, **kwargs))


def _file(files: ExitStack) -> IO[bytes]:
    return files.enter_context(tempfile.TemporaryFile())


def _read(file: IO[bytes] | None) -> str:
    if file is None:
        return ""
    file.seek(0)
    return file.read().decode(errors="replace")


def _end(program: subprocess.Popen[bytes]) -> None:
    """End a program that still runs: by SIGTERM first, so that it can end its child processes."""
    if program.poll() is None:
        program.terminate()
        try:
            program.wait(GRACE)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def shown(text: str) -> str:
    """Return text without the credentials in its addresses."""
    return re.sub(r"((?:password|passwd|secret|token)\w*=)[^&\s]+", r"\1…", re.sub(r"://[^/\s]*@", "://", text))


def local(address: str) -> bool:
    """Return whether an address is a path of this machine, for which no server has to answer."""
    return "://" not in address or address.startswith(("file://", "local://"))


def proxy(uri: str) -> str:
    """Return words for an error that name the proxy before `uri`, and how to bypass it; empty if there is no proxy."""
    parts = urlsplit(uri)
    address = urllib.request.getproxies().get(parts.scheme)
    if not address or not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return ""
    return f" by way of the proxy {address} ({parts.scheme.upper()}_PROXY; NO_PROXY={parts.hostname} goes past it)"
