"""The image under test: started as a cluster would, and held against gates.yaml."""

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
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from .. import files
from .. import process as outside
from ..adapters import dvc_files
from ..adapters.dvc import dvc
from ..config import gates, infra
from ..data.contract import requested
from ..errors import UserError
from ..paths import DATA, DATA_DVC, PREDICTIONS
from ..process import Deadline
from ..project import registered
from ..verdict import Check
from .build import RUNNERS, call_engine, engine, tag

# DOC container.golden: Requests whose answers are known: rows of the holdout, and what evaluation said of them.

ROWS = 200


@dataclass(frozen=True)
class Golden:
    """One request with many rows, one with a single row, and the scores of the many, shape (N,)."""

    many: bytes
    one: bytes
    scores: NDArray[np.float32]

    def repeated(self, rows: int) -> bytes:
        """Return a request of so many rows: those of `many`, again and again."""
        return _body([row for row, _ in zip(cycle(json.loads(self.many)["rows"]), range(rows), strict=False)])


def read() -> Golden:
    """Take rows spread over the holdout, as a client knows them, with the scores of the stage `evaluate`."""
    if not PREDICTIONS.exists():
        raise UserError(f"{PREDICTIONS} is missing: run `make pipeline`, or `dvc pull evaluate`")
    name, schema = registered().main, registered().schema
    partitions = dvc_files.partitions(dvc_files.read(DATA_DVC))
    if not partitions:
        raise UserError(f"{DATA_DVC} names no partition: run `make data UNTIL=…`")
    file = DATA / max(partitions) / f"{name}.parquet"
    if not file.exists():
        dvc("pull", str(file))  # of the data a release needs this alone
    known, key = list(requested(schema)), list(schema.unique or [])
    table = files.read_parquet(file, f"`dvc pull --force {file}`", known).select(known)
    scored = files.read_parquet(PREDICTIONS, "run `make pipeline`", [*key, "score"]).select(*key, "score")
    chosen = scored.gather_every(max(1, scored.height // ROWS)).head(ROWS)
    rows = chosen.join(table, on=key, how="left", maintain_order="left").select(known).to_dicts()
    return Golden(_body(rows), _body(rows[:1]), chosen["score"].to_numpy())


def _body(rows: list[dict[str, object]]) -> bytes:
    return to_json({"rows": rows})


# DOC container.container: The image, run as `deploy/base/deployment.yaml` has it run: with its memory, its folders
# and its rights, on loopback. What is verified is so what was promised: where the manifest grants less, the image is
# tried with less.

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
        return [*map(int, call_engine(self.engine, "exec", self.name, "python3", "-c", ASK, file, pattern).split())]


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
    name = call_engine(program, "run", "--detach", *limits(), *network, image)
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
        call_engine(program, "kill", name, check=False)  # at once: it would drain first
        call_engine(program, "rm", "--force", name)


def _require_alive(program: str, name: str, waited: float) -> None:
    alive = call_engine(program, "inspect", "--format", "{{.State.Running}}", name) == "true"
    if not alive and call_engine(program, "inspect", "--format", "{{.State.OOMKilled}}", name) == "true":
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


# DOC container.verify: Is the image what was judged, and does it keep to gates.yaml? Asked of a running container,
# before any push.

REQUESTS, WARM = 300, 20  # one row each; the first are not timed
STARTS = 3  # at most, where it takes too long


def verify(image: str | None = None) -> list[Check]:
    """Start the image of this training, or the one given, and hold it against the block `image` of gates.yaml."""
    name, limits, known = image or tag(), gates().image, read()
    program = engine(RUNNERS)
    size = float(call_engine(program, "image", "inspect", "--format", "{{.Size}}", name)) / 1e6
    user = call_engine(program, "image", "inspect", "--format", "{{.Config.User}}", name).partition(":")[0]
    with running(name) as container:
        apart = _apart(container, known)
        p95 = _p95(container, known)
        memory = container.memory
        crowded = _crowded(container, known)
    ready = _ready(container.ready, limits.ready_s, name)
    return [
        _within("golden predictions", apart, limits.parity, "farthest from the offline predictions"),
        _within("latency p95", p95, limits.latency_p95_ms, "ms for one row"),
        crowded,
        _within("size", size, limits.size_mb, "MB uncompressed"),
        _within("memory", memory, limits.memory_mb, "MB held after the requests"),
        _within("cold start", ready, limits.ready_s, "s until ready"),
        Check(name="user", result="block" if user in ("", "0", "root") else "pass", why=f"runs as {user or 'root'}"),
    ]


def _within(name: str, figure: float, limit: float, unit: str) -> Check:
    good = figure <= limit  # NaN is not
    why = f"{figure:.3g} {unit}" if good else f"{figure:.3g} {unit}: more than gates.yaml allows under image"
    known = figure if math.isfinite(figure) else None
    return Check(name=name, result="pass" if good else "block", figure=known, limit=limit, why=why)


def _apart(container: Container, known: Golden) -> float:
    answer = np.asarray(json.loads(container.post("/predict", known.many))["scores"], dtype=np.float64)
    return float(np.abs(answer - known.scores).max()) if answer.shape == known.scores.shape else float("inf")


def _crowded(container: Container, known: Golden) -> Check:
    """Ask for as much at once as infra.yaml lets in: all must be answered, rightly, with the memory that there is."""
    serving = infra().serving
    clients, rows = serving.max_concurrency, serving.max_rows
    answers = container.crowd("/predict", known.repeated(rows), clients)
    expected = np.resize(known.scores, rows)
    good = sum(bool(said) and _same(json.loads(said)["scores"], expected) for said in answers)
    why = f"{good} of {clients} requests of {rows:,} rows at once answered"
    if good < clients:
        why += f": {DEPLOYMENT} grants less than infra.yaml lets in under serving"
    return Check(name="load", result="pass" if good == clients else "block", figure=good, limit=clients, why=why)


def _same(scores: list[float], expected: NDArray[np.float32]) -> bool:
    parity = gates().image.parity
    return len(scores) == len(expected) and bool(np.abs(np.asarray(scores) - expected).max() <= parity)


def _ready(first: float, limit: float, image: str) -> float:
    """Start it again while it took too long: what else the machine does only ever adds to a start."""
    least, tries = first, 1
    while least > limit and tries < STARTS:
        with running(image) as container:
            least, tries = min(least, container.ready), tries + 1
    return least


def _p95(container: Container, known: Golden) -> float:
    times = []
    for _ in range(WARM + REQUESTS):
        begin = time.perf_counter()
        container.post("/predict", known.one)
        times.append(time.perf_counter() - begin)
    return float(np.quantile(times[WARM:], 0.95)) * 1000
