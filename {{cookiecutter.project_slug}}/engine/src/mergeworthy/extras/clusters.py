"""Training on other machines: a Ray cluster, or a job of Kubeflow Trainer.

Ray is for work that is too large for one machine: the stage `train` and the trials of a sweep run on the cluster of
infra.yaml. Its machines have the same packages as this one and share no disk with it: code and inputs travel through
Ray's object store, results come back as bytes. A connection is made within half a minute or fails, and is closed with
all that still runs for it. Importing this module takes as long as importing Ray.

`make trainjob` prints the stage `train` as a job of Kubeflow Trainer 2. Trainer's torch runtime sets the variables by
which each node's torchrun finds the other nodes.
"""

import importlib.util
import os
import re
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
from typing import TYPE_CHECKING, Any, TypeVar

from .. import config as settings
from .. import files
from ..adapters.git import commit
from ..config.base import PARAMS
from ..config.infra import INFRA, Compute, Infra, Ray
from ..errors import UserError
from ..files import FEATURES, MODEL, TRAINING
from ..project import PYPROJECT
from ..stages.train import CHECKPOINTS
from ..text import say

if TYPE_CHECKING:
    from .sweep import Split

with suppress(ImportError):  # an optional package: `check_connection` reports it missing
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

Key = TypeVar("Key")
StoredFiles = dict[str, Any]  # path → reference to its bytes in Ray's object store

ENGINE = Path(__file__).parents[1]
TEAM = Path("src")  # the folder of the team's packages
STAGE = "mergeworthy.stages.train"
CONNECT_ATTEMPTS = 3
CAPACITY_TIMEOUT = 600  # seconds to wait for machines with enough resources
POLL_INTERVAL = 10  # seconds between two looks at the cluster's machines
ERROR_LENGTH = 300  # characters; an error of Ray can be pages
CONNECT_TIMEOUT = 5  # seconds until an address that does not answer counts as wrong
PROJECT_FOLDER = "/project"  # where the volume with the checkout is mounted
PYTHONPATH = "PYTHONPATH=src:engine/src"
NODE = "node"  # what Trainer's runtimes call their replicated job and its container
NAME_LENGTH = 63  # characters of a name in Kubernetes
HASH_LENGTH = 7  # characters of the commit in a job's name


def check_connection(address: str) -> None:
    """Raise `UserError` if Ray is not installed here, or nothing listens at `address`."""
    if not importlib.util.find_spec("ray"):
        raise UserError("infra.yaml: ray: the package is not installed here: run `make setup`")
    parts = re.fullmatch(r"ray://(.+):(\d+)", address)
    if not parts:
        raise UserError(f"infra.yaml: ray.address, or RAY_ADDRESS: expected ray://host:port, not {address}")
    try:
        socket.create_connection((parts[1], int(parts[2])), CONNECT_TIMEOUT).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers at {address} ({error}): start it, or correct ray.address in infra.yaml or "
            "RAY_ADDRESS"
        ) from None


def train(infra: Infra, cluster: Ray) -> None:
    """Run the stage `train` on the cluster with a copy of its inputs, and write here what it writes.

    Checkpoints are written as they are made, so that the next run continues from them, on the cluster or without it.
    Raise `UserError` if one machine fails or is lost; all others are stopped then.
    """
    check_connection(cluster.head)
    inputs = [
        PARAMS,
        *filter(Path.exists, [PYPROJECT]),
        *FEATURES.glob("*.parquet"),
        *CHECKPOINTS.glob("*.pt"),
    ]
    nodes, resources = infra.compute.nodes, resources_for(infra.compute, cluster, infra.compute.processes)
    say(f"training on {nodes} machine(s) of the Ray cluster {cluster.head}")
    with connected(cluster):
        group = ray.util.placement_group([resources] * nodes, strategy="STRICT_SPREAD")
        if not group.wait(CAPACITY_TIMEOUT):
            raise UserError(
                f"the Ray cluster has had no {nodes} machine(s) with {resources} free in {CAPACITY_TIMEOUT} s: lower "
                "compute in infra.yaml, or add machines"
            )
        stored = upload(inputs)
        machines = [
            ray.remote(Machine)
            .options(
                num_cpus=resources["CPU"],
                num_gpus=resources.get("GPU", 0),
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, number),
            )
            .remote(stored)
            for number in range(nodes)
        ]
        remote_infra = _remote_infra(infra, ray.get(machines[0].rendezvous.remote()))
        ray.get([machine.start.remote(remote_infra) for machine in machines])
        _follow(machines)
    shutil.rmtree(CHECKPOINTS, ignore_errors=True)


def run_trials(
    trials: Iterator[tuple[Key, dict[str, Any]]], data: "Split", infra: Infra, cluster: Ray
) -> Iterator[tuple[Key, tuple[dict[str, float], float]]]:
    """Run as many trials at once as the cluster has room for; yield each key with the result of `fit` when it is done.

    Ray runs a trial again if its machine is lost. Raise `UserError` if a trial fails, or no machine can run one.
    """
    check_connection(cluster.head)
    resources, last_capacity = resources_for(infra.compute, cluster), time.monotonic()
    running: dict[Any, Key] = {}
    with connected(cluster):
        stored = upload([PYPROJECT, INFRA, *data.training, data.measured])
        remote = ray.remote(_run_trial).options(num_cpus=resources["CPU"], num_gpus=resources.get("GPU", 0))
        while True:
            slots = count_slots(resources)
            for key, params in islice(trials, max(slots - len(running), 1 - len(running), 0)):
                running[remote.remote(stored, params, data)] = key
            if not running:
                return
            last_capacity = time.monotonic() if slots else last_capacity
            if time.monotonic() - last_capacity > CAPACITY_TIMEOUT:
                raise UserError(
                    f"no machine of the Ray cluster has {resources} for a trial: lower compute in infra.yaml, or add "
                    "machines"
                )
            for done in ray.wait(list(running), timeout=POLL_INTERVAL)[0]:
                yield running.pop(done), ray.get(done)


@contextmanager
def connected(cluster: Ray) -> Iterator[None]:
    """Connect to the cluster with this project's code; turn an error of Ray inside into a `UserError` of one line."""
    try:
        _connect(cluster.head)
        yield
    except (RayError, ConnectionError, RuntimeError) as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        message = " ".join(str(cause).split())
        raise UserError(f"Ray at {cluster.head}: {type(cause).__name__}: {message[:ERROR_LENGTH]}") from error
    finally:
        ray.shutdown()


def _connect(address: str, attempts: int = CONNECT_ATTEMPTS) -> None:
    """Connect; try again if the process that the head starts for each client dies as it starts.

    That happens with Ray 2.60 on a busy head.
    """
    packages = [str(ENGINE), *(str(path.parent) for path in sorted(TEAM.glob("*/__init__.py")))]
    with warnings.catch_warnings(action="ignore"):
        try:
            ray.init(address, runtime_env={"py_modules": packages}, logging_level="ERROR", log_to_driver=False)
        except ConnectionAbortedError:
            if attempts == 1:
                raise
            _connect(address, attempts - 1)


def resources_for(compute: Compute, cluster: Ray, processes: int = 1) -> dict[str, float]:
    """Return the resources of a machine, by Ray's names, that this number of training processes needs."""
    return {"CPU": compute.threads * processes} | ({"GPU": cluster.gpus * processes} if cluster.gpus else {})


def count_slots(resources: dict[str, float]) -> int:
    """Return how many times the cluster's machines have these resources, whether or not they are in use."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(min(int(machine.get(name, 0) // count) for name, count in resources.items()) for machine in machines)


def upload(paths: Iterable[Path]) -> StoredFiles:
    """Put files into the object store, once for all machines."""
    return {path.as_posix(): ray.put(path.read_bytes()) for path in paths}


def download(stored: StoredFiles, folder: Path) -> None:
    """Write files of the object store into a folder of this machine."""
    for name, content in stored.items():
        write_files({name: ray.get(content)}, folder)


def write_files(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write files into a folder, each at once: a kill leaves the old file or the new one, never a part."""
    for name, content in contents.items():
        files.write_atomic(folder / name, content)


@dataclass(frozen=True)
class Progress:
    """A line of the stage and the files that are new since the last one; at its end the last line and the status."""

    line: str
    files: dict[str, bytes]
    status: int | None = None


class Machine:
    """An actor that runs the stage in a temporary folder of one machine."""

    def __init__(self, inputs: StoredFiles) -> None:
        self.temporary = tempfile.TemporaryDirectory(prefix="train-")
        self.folder = Path(self.temporary.name)
        download(inputs, self.folder)
        self.sent: dict[Path, int] = {}
        self.last_line = ""

    def rendezvous(self) -> str:
        """Return an address at which all machines can meet: a port that is free on this one."""
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def start(self, infra: str) -> None:
        """Start the stage with the text of an infra.yaml."""
        (self.folder / INFRA).write_text(infra)
        self.stage = subprocess.Popen(
            [sys.executable, "-m", STAGE],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def progress(self) -> Progress:
        """Wait for the next line, or for the end of the stage."""
        line = self.stage.stdout.readline() if self.stage.stdout else ""
        if line:
            self.last_line = line.rstrip()
            return Progress(self.last_line, self._new_files(self.folder.glob(f"{CHECKPOINTS}/*.pt")))
        status = self.stage.wait()
        results = self._new_files(path for path in (self.folder / MODEL, self.folder / TRAINING) if path.exists())
        self.temporary.cleanup()
        return Progress(self.last_line, results, status)

    def _new_files(self, paths: Iterable[Path]) -> dict[str, bytes]:
        contents = {}
        for path in paths:
            with suppress(FileNotFoundError):  # the stage deletes its checkpoint when training ends
                if self.sent.get(path) != (changed := path.stat().st_mtime_ns):
                    contents[path.relative_to(self.folder).as_posix()] = path.read_bytes()
                    self.sent[path] = changed
        return contents


def _follow(machines: list[Any]) -> None:
    """Print each machine's lines and write its files until all machines are done."""
    pending = {machine.progress.remote(): machine for machine in machines}
    while pending:
        for ref in ray.wait(list(pending))[0]:
            machine, progress = pending.pop(ref), ray.get(ref)
            write_files(progress.files, Path())
            if progress.status:
                raise UserError(f"training on the Ray cluster ended {_describe(progress.status)}: {progress.line}")
            if progress.status is None:
                say(progress.line)
                pending[machine.progress.remote()] = machine


def _describe(status: int) -> str:
    return f"by signal {-status}" if status < 0 else f"with exit code {status}"


def _remote_infra(infra: Infra, rendezvous: str) -> str:
    """Return infra.yaml for the cluster's machines: without `ray`, so that they train, and with their rendezvous."""
    content = infra.model_dump(mode="json", exclude={"ray"})
    return files.dump_yaml(content | {"compute": content["compute"] | {"rendezvous": rendezvous}})


def _run_trial(inputs: StoredFiles, params: dict[str, Any], data: "Split") -> tuple[dict[str, float], float]:
    from .sweep import fit  # with Optuna and MLflow, which a training does without

    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        download(inputs, Path())
        return fit(params, data)


def print_trainjob() -> None:
    """Print the manifest of the job; its name has the commit, so that the same commit applied twice is one job."""
    infra = settings.infra()
    if infra.cluster is None:
        raise UserError("infra.yaml: cluster: is missing: set its image and volume, so that the job can run there")
    name = infra.tracking.experiment[: NAME_LENGTH - HASH_LENGTH - 1].rstrip("-")
    print(files.dump_yaml(trainjob(infra.cluster, infra.compute, f"{name}-{(commit() or 'none')[:HASH_LENGTH]}")))


def trainjob(
    cluster: settings.Cluster, compute: settings.Compute, name: str, folder: str = PROJECT_FOLDER
) -> dict[str, Any]:
    """Return the TrainJob (trainer.kubeflow.org/v1alpha1, as of Trainer 2.3.0); the checkout is mounted at `folder`."""
    volume = {
        "volumes": [{"name": "project", "persistentVolumeClaim": {"claimName": cluster.volume}}],
        "containers": [{"name": NODE, "volumeMounts": [{"name": "project", "mountPath": folder}]}],
    }
    # A Kubernetes quantity is a whole number or a text.
    resources = {
        name: str(amount) if isinstance(amount, float) else amount for name, amount in cluster.resources.items()
    }
    job = {"name": NODE, "template": {"spec": {"template": {"spec": volume}}}}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name, "namespace": cluster.namespace},
        "spec": {
            "runtimeRef": {"name": cluster.runtime},
            "trainer": {
                "image": cluster.image,
                "command": [
                    "env",
                    f"--chdir={folder}",
                    PYTHONPATH,
                    "torchrun",
                    "-m",
                    "mergeworthy.stages.train",
                ],
                "numNodes": compute.nodes,
                "numProcPerNode": compute.processes,
                "resourcesPerNode": {"requests": resources, "limits": resources},
            },
            "runtimePatches": [
                {
                    "manager": "mergeworthy/trainjob",
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}},
                }
            ],
        },
    }
