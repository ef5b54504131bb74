"""The image, run as a cluster would run it: read-only, nobody's user, no capabilities, on loopback."""

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from ...errors import UserError
from .. import outside
from ..outside import Deadline
from .engine import RUNNERS, call, engine

WRITABLE = ["--tmpfs", "/tmp", "--tmpfs", "/predictions"]  # noqa: S108 - inside the container
LOCKED = ["--read-only", *WRITABLE, "--cap-drop=ALL", "--security-opt=no-new-privileges"]
PATIENCE = 60  # seconds until a container that does not answer is given up
GLANCES = 25  # at /readyz for one at the container: the engine takes a part of what is measured
# Asked inside, where every engine has its processes, be it on another machine.
ASK = """
import os, pathlib, re, sys
for process in pathlib.Path("/proc").glob("[0-9]*"):
    file = process / sys.argv[1]
    if int(process.name) != os.getpid() and file.exists():
        print(*re.findall(sys.argv[2], file.read_text()))
"""


@dataclass(frozen=True)
class Container:
    """A running container; `ready` is how long it took to answer, in seconds."""

    engine: str
    name: str
    connection: http.client.HTTPConnection
    ready: float

    def post(self, path: str, body: bytes) -> bytes:
        """Send JSON and give the answer; raise `UserError` unless it is 200."""
        self.connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        said = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise UserError(f"the container answers {answer.status} to {path}: {said[:300].decode(errors='replace')}")
        return said

    @property
    def memory(self) -> float:
        """What its processes hold and no machine can take back without ending them, in MB: no cached files.

        The engine's own figure (stats) has each file read lately: a fresh pull made the same service 100 MB larger.
        """
        held = sum(self._ask("status", r"(?:RssAnon|RssShmem|VmSwap):\s+(\d+) kB"))
        if not held:
            raise UserError(f"{self.engine} runs the container where /proc tells no memory: choose another runtime")
        return held * 1024e-6

    def _ask(self, file: str, pattern: str) -> list[int]:
        """What the pattern finds in this file of each process in /proc; nothing where the kernel has none."""
        return [*map(int, call(self.engine, "exec", self.name, "python3", "-c", ASK, file, pattern).split())]


@contextmanager
def running(image: str) -> Iterator[Container]:
    """Start a container of `image` and wait until it is ready; it is gone on leaving."""
    program, port = engine(RUNNERS), _free_port()
    network = ["--publish", f"127.0.0.1:{port}:{port}", "--env", f"BENTOML_PORT={port}"]
    begin = time.perf_counter()
    name = call(program, "run", "--detach", *LOCKED, *network, image)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        for turn in count(1):
            if _is_ready(connection):
                break
            if turn % GLANCES == 0:
                _require_alive(program, name, time.perf_counter() - begin)
            time.sleep(0.02)
        yield Container(program, name, connection, time.perf_counter() - begin)
    finally:
        call(program, "rm", "--force", name)


def _require_alive(program: str, name: str, waited: float) -> None:
    alive = call(program, "inspect", "--format", "{{.State.Running}}", name) == "true"
    if not alive or waited > PATIENCE:
        raise UserError(f"the container {'is not ready' if alive else 'ended'}: {_last_words(program, name)}")


def _is_ready(connection: http.client.HTTPConnection) -> bool:
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        answer.read()
    except (ConnectionError, http.client.HTTPException, TimeoutError):
        connection.close()
        return False
    return answer.status == http.HTTPStatus.OK


def _last_words(program: str, name: str) -> str:
    logs = [program, "logs", name]
    done = outside.call(logs, program, Deadline.ANSWER)
    return ((done.stdout + done.stderr).strip().splitlines() or ["it wrote nothing"])[-1]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
