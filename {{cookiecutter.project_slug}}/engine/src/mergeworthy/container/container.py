"""The image, run as `deploy/base/deployment.yaml` has it run: with its memory, its folders and its rights, on loopback.

What is verified is so what was promised: where the manifest grants less, the image is tried with less.
"""

import http.client
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from .. import files
from .. import process as outside
from ..errors import UserError
from ..process import Deadline
from .engine import RUNNERS, call, engine

DEPLOYMENT = Path("deploy/base/deployment.yaml")
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
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

    def crowd(self, path: str, body: bytes, clients: int) -> list[bytes]:
        """Send the same JSON from so many clients at once; return the answers, b"" for each that is not 200."""

        def ask(_: int) -> bytes:
            one = http.client.HTTPConnection(self.connection.host, self.connection.port, timeout=PATIENCE)
            try:
                one.request("POST", path, body, {"Content-Type": "application/json"})
                answer = one.getresponse()
                said = answer.read()
            except (OSError, http.client.HTTPException):
                return b""
            finally:
                one.close()
            return said if answer.status == http.HTTPStatus.OK else b""

        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(ask, range(clients)))

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


def quantity(value: object) -> int:
    """Return the bytes that a Kubernetes quantity such as 600Mi means; raise `UserError` if it is none."""
    parts = re.fullmatch(r"([0-9]+)([kMG]|[KMG]i)?", str(value))
    if not parts:
        raise UserError(f"{DEPLOYMENT}: {value!r} is no amount of memory: expected one such as 600Mi")
    return int(parts[1]) * UNITS[parts[2] or ""]


def limits(path: Path = DEPLOYMENT) -> list[str]:
    """Return the engine's options for what the manifest grants; raise `UserError` if it does not say it."""
    try:
        pod: dict[str, Any] = files.read_yaml(path)["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        memory = quantity(container["resources"]["limits"]["memory"])
        user = "{runAsUser}:{runAsGroup}".format_map(pod["securityContext"])
        rights, volumes = container["securityContext"], {one["name"]: one for one in pod["volumes"]}
        mounts = [_tmpfs(one["mountPath"], volumes[one["name"]]) for one in container["volumeMounts"]]
        dropped = [f"--cap-drop={name}" for name in rights["capabilities"]["drop"]]
        given = {"--read-only": rights["readOnlyRootFilesystem"]}
        given["--security-opt=no-new-privileges"] = not rights["allowPrivilegeEscalation"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: what the container may use cannot be read from it: {error!r} is missing") from None
    options = [option for option, wanted in given.items() if wanted]
    mounted = [word for mount in mounts for word in ("--tmpfs", mount)]
    return [*options, *dropped, *mounted, "--user", user, f"--memory={memory}", f"--memory-swap={memory}"]


def _tmpfs(path: str, volume: dict[str, Any]) -> str:
    """Describe a folder in memory, of the manifest's size if it lies in memory there too; else it stands for a disk."""
    size = volume.get("emptyDir", {}).get("sizeLimit")
    return f"{path}:rw,mode=1777" + (f",size={quantity(size)}" if size else "")


@contextmanager
def running(image: str) -> Iterator[Container]:
    """Start a container of `image` and wait until it is ready; it is gone on leaving."""
    program, port = engine(RUNNERS), _free_port()
    network = ["--publish", f"127.0.0.1:{port}:{port}", "--env", f"BENTOML_PORT={port}"]
    begin = time.perf_counter()
    name = call(program, "run", "--detach", *limits(), *network, image)
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
        call(program, "kill", name, check=False)  # at once: it would drain first
        call(program, "rm", "--force", name)


def _require_alive(program: str, name: str, waited: float) -> None:
    alive = call(program, "inspect", "--format", "{{.State.Running}}", name) == "true"
    if not alive and call(program, "inspect", "--format", "{{.State.OOMKilled}}", name) == "true":
        raise UserError(f"the container needs more memory than {DEPLOYMENT} allows it")
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
