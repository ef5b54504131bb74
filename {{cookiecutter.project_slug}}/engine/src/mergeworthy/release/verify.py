"""Checks of the image before it is pushed: it is started as in the cluster and compared with gates.yaml.

The container runs on loopback with the memory, folders and rights of `deploy/base/deployment.yaml`. It must give the
judged model's predictions for golden requests: rows of the holdout with their scores from the stage `evaluate`.
"""

import http.client
import json
import math
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from .. import files
from .. import process as outside
from ..adapters import dvc
from ..config import gates, infra
from ..data.contract import requested
from ..errors import UserError
from ..files import DATA_DVC, PREDICTIONS
from ..process import Deadline
from ..project import registered
from ..verdict import Check
from .image import RUNNERS, call_engine, engine, tag

DEPLOYMENT = Path("deploy/base/deployment.yaml")
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
GOLDEN_ROWS = 200
WARM_UP_REQUESTS = 20  # not timed
TIMED_REQUESTS = 300  # of one row each
MAX_STARTS = 3  # the start is repeated if it takes too long
ANSWER_TIMEOUT = 60  # seconds, of a request and of the start
POLL_SECONDS = 0.02
POLLS_PER_INSPECT = 25  # `inspect` is rare, as it slows down the start that is measured
# Runs in the container, since the engine may run it on another machine.
READ_PROC = """
import os, pathlib, re, sys
for process in pathlib.Path("/proc").glob("[0-9]*"):
    file = process / sys.argv[1]
    if int(process.name) != os.getpid() and file.exists():
        print(*re.findall(sys.argv[2], file.read_text()))
"""


def verify(image: str | None = None) -> list[Check]:
    """Start the image (default: of this training) and return its checks against the block `image` of gates.yaml."""
    name, limits, golden = image or tag(), gates().image, read_golden()
    program = engine(RUNNERS)
    size = float(call_engine(program, "image", "inspect", "--format", "{{.Size}}", name)) / 1e6
    user = call_engine(program, "image", "inspect", "--format", "{{.Config.User}}", name).partition(":")[0]
    with running(name) as container:
        difference = distance(container.post("/predict", golden.many), golden.scores)
        latency = _latency_p95(container, golden)
        memory = container.memory
        load = _load_check(container, golden)
    start_seconds = _shortest_start(container.start_seconds, limits.ready_s, name)
    return [
        _limit_check("golden predictions", difference, limits.parity, "farthest from the offline predictions"),
        _limit_check("latency p95", latency, limits.latency_p95_ms, "ms for one row"),
        load,
        _limit_check("size", size, limits.size_mb, "MB uncompressed"),
        _limit_check("memory", memory, limits.memory_mb, "MB held after the requests"),
        _limit_check("cold start", start_seconds, limits.ready_s, "s until ready"),
        Check(name="user", result="block" if user in ("", "0", "root") else "pass", why=f"runs as {user or 'root'}"),
    ]


@dataclass(frozen=True)
class Golden:
    """A request with many rows, one with a single row, and the scores of the many, shape (N,)."""

    many: bytes
    single: bytes
    scores: NDArray[np.float32]

    def repeated(self, rows: int) -> bytes:
        """Return a request of `rows` rows: those of `many`, repeated."""
        return _body(list(islice(cycle(json.loads(self.many)["rows"]), rows)))


def read_golden() -> Golden:
    """Return requests for rows spread over the holdout, with the scores of the stage `evaluate`."""
    if not PREDICTIONS.exists():
        raise UserError(f"{PREDICTIONS} is missing: run `make pipeline`, or `dvc pull evaluate`")
    name, schema = registered().main, registered().schema
    partitions = dvc.partitions(dvc.read(DATA_DVC))
    if not partitions:
        raise UserError(f"{DATA_DVC} names no partition: run `make data UNTIL=…`")
    file = max(partitions).table(name)
    if not file.exists():
        dvc.execute("pull", str(file))  # the only data that a release needs
    columns, key = list(requested(schema)), list(schema.unique or [])
    table = files.read_parquet(file, f"`dvc pull --force {file}`", columns).select(columns)
    scored = files.read_parquet(PREDICTIONS, "run `make pipeline`", [*key, "score"]).select(*key, "score")
    chosen = scored.gather_every(max(1, scored.height // GOLDEN_ROWS)).head(GOLDEN_ROWS)
    rows = chosen.join(table, on=key, how="left", maintain_order="left").select(columns).to_dicts()
    return Golden(_body(rows), _body(rows[:1]), chosen["score"].to_numpy())


@dataclass(frozen=True)
class Container:
    """A running container; `start_seconds` passed until it was ready."""

    engine: str
    name: str
    connection: http.client.HTTPConnection
    start_seconds: float

    def post(self, path: str, body: bytes) -> bytes:
        """Send JSON and return the answer; raise `UserError` unless its status is 200."""
        status, content = _post(self.connection, path, body)
        if status != http.HTTPStatus.OK:
            raise UserError(f"the container answers {status} to {path}: {content[:300].decode(errors='replace')}")
        return content

    def post_at_once(self, path: str, body: bytes, clients: int) -> list[bytes]:
        """Send the same JSON from `clients` clients at once; return the answers, b"" for each that is not 200."""

        def ask(_: int) -> bytes:
            connection = http.client.HTTPConnection(self.connection.host, self.connection.port, timeout=ANSWER_TIMEOUT)
            try:
                status, content = _post(connection, path, body)
            except (OSError, http.client.HTTPException):
                return b""
            finally:
                connection.close()
            return content if status == http.HTTPStatus.OK else b""

        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(ask, range(clients)))

    @property
    def memory(self) -> float:
        """Memory in MB that the kernel cannot reclaim from the container's processes; cached files do not count.

        The engine's own figure (`stats`) includes recently read files: after a fresh pull it was 100 MB higher.
        """
        held = sum(self._read_proc("status", r"(?:RssAnon|RssShmem|VmSwap):\s+(\d+) kB"))
        if not held:
            raise UserError(
                f"{self.engine} runs the container without memory figures in /proc: choose another runtime for it"
            )
        return held * 1024e-6

    def _read_proc(self, file: str, pattern: str) -> list[int]:
        """Return what the pattern matches in this file of each process in /proc; nothing if the kernel has none."""
        output = call_engine(self.engine, "exec", self.name, "python3", "-c", READ_PROC, file, pattern)
        return [*map(int, output.split())]


@contextmanager
def running(image: str) -> Iterator[Container]:
    """Start a container of `image` and wait until it is ready; remove it at the end of the block."""
    program, port = engine(RUNNERS), _free_port()
    network = ["--publish", f"127.0.0.1:{port}:{port}", "--env", f"BENTOML_PORT={port}"]
    begin = time.perf_counter()
    name = call_engine(program, "run", "--detach", *limits(), *network, image)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT)
        for poll in count(1):
            if _is_ready(connection):
                break
            if poll % POLLS_PER_INSPECT == 0:
                _require_running(program, name, time.perf_counter() - begin)
            time.sleep(POLL_SECONDS)
        yield Container(program, name, connection, time.perf_counter() - begin)
    finally:
        call_engine(program, "kill", name, check=False)  # `rm` alone would let it drain
        call_engine(program, "rm", "--force", name)


def limits(path: Path = DEPLOYMENT) -> list[str]:
    """Return the engine's options for the manifest's limits; raise `UserError` if one cannot be read from it."""
    try:
        pod: dict[str, Any] = files.read_yaml(path)["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        memory = quantity(container["resources"]["limits"]["memory"])
        user = "{runAsUser}:{runAsGroup}".format_map(pod["securityContext"])
        rights, volumes = container["securityContext"], {volume["name"]: volume for volume in pod["volumes"]}
        mounts = [_tmpfs(mount["mountPath"], volumes[mount["name"]]) for mount in container["volumeMounts"]]
        dropped = [f"--cap-drop={name}" for name in rights["capabilities"]["drop"]]
        flags = {"--read-only": rights["readOnlyRootFilesystem"]}
        flags["--security-opt=no-new-privileges"] = not rights["allowPrivilegeEscalation"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: the container's limits cannot be read: {error!r} is missing: restore the manifest from git"
        ) from None
    options = [flag for flag, is_set in flags.items() if is_set]
    mounted = [word for mount in mounts for word in ("--tmpfs", mount)]
    return [*options, *dropped, *mounted, "--user", user, f"--memory={memory}", f"--memory-swap={memory}"]


def quantity(value: object) -> int:
    """Return a Kubernetes quantity of memory such as 600Mi in bytes; raise `UserError` if it is not one."""
    parts = re.fullmatch(r"([0-9]+)([kMG]|[KMG]i)?", str(value))
    if not parts:
        raise UserError(f"{DEPLOYMENT}: {value!r} is not an amount of memory: expected one such as 600Mi")
    return int(parts[1]) * UNITS[parts[2] or ""]


def _body(rows: list[dict[str, object]]) -> bytes:
    return to_json({"rows": rows})


def _post(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def _tmpfs(path: str, volume: dict[str, Any]) -> str:
    """Return the option for a folder in memory; it has a size only if the manifest keeps it in memory too."""
    size = volume.get("emptyDir", {}).get("sizeLimit")
    return f"{path}:rw,mode=1777" + (f",size={quantity(size)}" if size else "")


def _require_running(program: str, name: str, waited: float) -> None:
    """Raise `UserError` if the container has ended, or has not become ready in time."""
    is_running = call_engine(program, "inspect", "--format", "{{.State.Running}}", name) == "true"
    if not is_running and call_engine(program, "inspect", "--format", "{{.State.OOMKilled}}", name) == "true":
        raise UserError(f"the container needs more memory than {DEPLOYMENT} allows it")
    if not is_running or waited > ANSWER_TIMEOUT:
        state = f"is not ready after {ANSWER_TIMEOUT} s" if is_running else "ended"
        raise UserError(f"the container {state}: {_last_log_line(program, name)}")


def _is_ready(connection: http.client.HTTPConnection) -> bool:
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        answer.read()
    except (ConnectionError, http.client.HTTPException, TimeoutError):
        connection.close()
        return False
    return answer.status == http.HTTPStatus.OK


def _last_log_line(program: str, name: str) -> str:
    result = outside.call([program, "logs", name], program, Deadline.ANSWER)
    return ((result.stdout + result.stderr).strip().splitlines() or ["its log is empty"])[-1]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _limit_check(name: str, figure: float, limit: float, unit: str) -> Check:
    is_within = figure <= limit  # False for NaN
    why = f"{figure:.3g} {unit}" if is_within else f"{figure:.3g} {unit}: more than gates.yaml allows under image"
    finite = figure if math.isfinite(figure) else None
    return Check(name=name, result="pass" if is_within else "block", figure=finite, limit=limit, why=why)


def distance(answer: str | bytes, expected: NDArray[np.float32]) -> float:
    """Return the largest difference, relative above 1, of a score in an answer of `/predict` from the expected one.

    It is infinity if rows are missing.
    """
    scores = registered().task.scores(json.loads(answer))
    if scores.shape != expected.shape:
        return float("inf")
    return float((np.abs(scores - expected) / np.maximum(np.abs(expected), 1)).max())


def _load_check(container: Container, golden: Golden) -> Check:
    """Send as much at once as infra.yaml accepts: each request must be answered, with the right scores."""
    serving = infra().serving
    clients, rows = serving.max_concurrency, serving.max_rows
    answers = container.post_at_once("/predict", golden.repeated(rows), clients)
    expected = np.resize(golden.scores, (rows, *golden.scores.shape[1:]))
    parity = gates().image.parity
    correct = sum(distance(answer, expected) <= parity for answer in answers if answer)
    why = f"{correct} of {clients} requests of {rows:,} rows at once answered"
    if correct < clients:
        why += f": {DEPLOYMENT} grants less than infra.yaml accepts under serving"
    return Check(name="load", result="pass" if correct == clients else "block", figure=correct, limit=clients, why=why)


def _shortest_start(first: float, limit: float, image: str) -> float:
    """Start the image again while the start takes too long: other work on this machine can only lengthen it."""
    shortest, starts = first, 1
    while shortest > limit and starts < MAX_STARTS:
        with running(image) as container:
            shortest, starts = min(shortest, container.start_seconds), starts + 1
    return shortest


def _latency_p95(container: Container, golden: Golden) -> float:
    """Return the 95 % quantile of the latency of a request with one row, in ms."""
    times = []
    for _ in range(WARM_UP_REQUESTS + TIMED_REQUESTS):
        begin = time.perf_counter()
        container.post("/predict", golden.single)
        times.append(time.perf_counter() - begin)
    return float(np.quantile(times[WARM_UP_REQUESTS:], 0.95)) * 1000
