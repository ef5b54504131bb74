"""On a Ray cluster: files sent and fetched, the stage `train` on several machines, and the trials of a sweep."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as Placed

from .. import config as settings
from .. import files
from ..config.base import PARAMS
from ..config.infra import INFRA, Compute, Infra, Ray
from ..errors import UserError
from ..paths import FEATURES, MODEL, TRAINING
from ..project import PYPROJECT
from ..stages import distributed
from ..text import say
from .sweep_trial import Split, fit

# DOC extras.ray.luggage: Files on their way to a machine that shares no disk with this one.

Luggage = dict[str, Any]  # name → where Ray's object store holds the bytes


def pack(files: Iterable[Path]) -> Luggage:
    """Put them into the object store, once for all that will ask for them."""
    return {path.as_posix(): ray.put(path.read_bytes()) for path in files}


def write(files: Mapping[str, bytes], to: Path) -> None:
    """Lay them out as they were; a kill at any moment leaves each as it was or as it is to be."""
    for name, content in files.items():
        path = to / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.part")
        unfinished.write_bytes(content)
        unfinished.replace(path)


def unpack(luggage: Luggage, to: Path) -> None:
    """Lay the files out on this machine."""
    for name, content in luggage.items():
        write({name: ray.get(content)}, to)


# DOC extras.ray.cluster: A connection to the cluster: made within half a minute or not at all, and closed with all
# that still runs for it.

CODE = Path(__file__).parents[2]
PATIENCE = 600  # seconds to wait for room
LONG = 300  # characters of an error; Ray's can be pages


@contextmanager
def connected(wanted: Ray) -> Iterator[None]:
    """Enter the cluster with this project's code; whatever Ray raises inside is a `UserError` of one line."""
    try:
        _enter(wanted.head)
        yield
    except (RayError, ConnectionError, RuntimeError) as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        said = " ".join(str(cause).split())
        raise UserError(f"Ray at {wanted.head}: {type(cause).__name__}: {said[:LONG]}") from error
    finally:
        ray.shutdown()


def need(compute: Compute, wanted: Ray, processes: int = 1) -> dict[str, float]:
    """What so many training processes take of a machine, in Ray's words."""
    return {"CPU": compute.threads * processes} | ({"GPU": wanted.gpus * processes} if wanted.gpus else {})


def places(needed: dict[str, float]) -> int:
    """How many times the cluster's machines hold that, were they free."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(min(int(has.get(name, 0) // count) for name, count in needed.items()) for has in machines)


def _enter(address: str, tries: int = 3) -> None:
    """Connect; the process that the head starts for each client may die as it starts (seen with 2.60 on a busy one)."""
    with warnings.catch_warnings(action="ignore"):
        try:
            ray.init(address, runtime_env={"py_modules": [str(CODE)]}, logging_level="ERROR", log_to_driver=False)
        except ConnectionAbortedError:
            if tries == 1:
                raise
            _enter(address, tries - 1)


# DOC extras.ray.machine: One machine of the cluster at work.

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
            return News(self.last, self._new(*self.place.glob(f"{distributed.CHECKPOINTS}/*.pt")))
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


# DOC extras.ray.training: The stage `train` on the cluster: its own command, with a copy of its inputs, on so many
# machines.

PINS = Path("pyproject.toml")


def train(infra: Infra, wanted: Ray) -> None:
    """Write what the stage writes. Raise `UserError` where one machine fails or is lost: all the others are stopped.

    Checkpoints come back as they are made, so that the next try goes on there, on this cluster or without one.
    """
    inputs = [
        PARAMS,
        *filter(Path.exists, [PINS]),
        *FEATURES.glob("*.parquet"),
        *distributed.CHECKPOINTS.glob("*.pt"),
    ]
    nodes, needed = infra.compute.nodes, need(infra.compute, wanted, infra.compute.processes)
    say(f"training on {nodes} machine(s) of the Ray cluster {wanted.head}")
    with connected(wanted):
        group = ray.util.placement_group([needed] * nodes, strategy="STRICT_SPREAD")
        if not group.wait(PATIENCE):
            raise UserError(f"the Ray cluster has had no {nodes} machine(s) with {needed} free in {PATIENCE} s")
        each = [
            {"num_cpus": needed["CPU"], "num_gpus": needed.get("GPU", 0), "scheduling_strategy": Placed(group, number)}
            for number in range(nodes)
        ]
        luggage = pack(inputs)
        machines = [ray.remote(Machine).options(**place).remote(luggage) for place in each]
        there = _there(infra, ray.get(machines[0].meeting.remote()))
        ray.get([machine.start.remote(there) for machine in machines])
        _follow(machines)
    shutil.rmtree(distributed.CHECKPOINTS, ignore_errors=True)


def _follow(machines: list[Any]) -> None:
    """Tell and keep what each brings, until all have ended."""
    awaited = {machine.news.remote(): machine for machine in machines}
    while awaited:
        for ref in ray.wait(list(awaited))[0]:
            machine, news = awaited.pop(ref), ray.get(ref)
            write(news.files, Path())
            if news.status:
                raise UserError(f"training on the Ray cluster ended {_ended(news.status)}: {news.line}")
            if news.status is None:
                say(news.line)
                awaited[machine.news.remote()] = machine


def _ended(status: int) -> str:
    return f"by signal {-status}" if status < 0 else f"with exit code {status}"


def _there(infra: Infra, meeting: str) -> str:
    """Give infra.yaml as those machines read it: for them there is no other place to train."""
    content = infra.model_dump(mode="json", exclude={"ray"})
    return files.dump_yaml(content | {"compute": content["compute"] | {"rendezvous": meeting}})


# DOC extras.ray.trials: A sweep's trials on the cluster, as many at once as it has room for.

Key = TypeVar("Key")
LOOK = 10  # seconds between two looks at what is left of the cluster


def tried(
    asked: Iterator[tuple[Key, dict[str, Any]]], data: Split, infra: settings.Infra, wanted: settings.Ray
) -> Iterator[tuple[Key, tuple[dict[str, float], float]]]:
    """Each key with what `fit` gives for its parameters, in the order in which they are done.

    Ray itself makes a trial again whose machine is lost. Raises `UserError` where one fails, or none is left to run it.
    """
    needed, possible = need(infra.compute, wanted), time.monotonic()
    running: dict[Any, Key] = {}
    with connected(wanted):
        luggage = pack([PYPROJECT, settings.INFRA, *data.training, data.measured])
        remote = ray.remote(_try).options(num_cpus=needed["CPU"], num_gpus=needed.get("GPU", 0))
        while True:
            found = places(needed)
            for key, params in islice(asked, max(found - len(running), 1 - len(running), 0)):
                running[remote.remote(luggage, params, data)] = key
            if not running:
                return
            possible = time.monotonic() if found else possible
            if time.monotonic() - possible > PATIENCE:
                raise UserError(f"no machine of the Ray cluster has {needed} for a trial")
            for done in ray.wait(list(running), timeout=LOOK)[0]:
                yield running.pop(done), ray.get(done)


def _try(luggage: Luggage, params: dict[str, Any], data: Split) -> tuple[dict[str, float], float]:
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        unpack(luggage, Path())
        return fit(params, data)
