"""Training on other machines: a Ray cluster, or a job of Kubeflow Trainer.

Ray is for work that is too large for one machine: the stage `train` and the trials of a sweep run on the cluster of
infra.yaml. Its machines share only their packages with this one. Code and inputs are sent there, results come back.
This module imports Ray, through `ray_cluster`, only after the cluster's address answered.

`make trainjob` prints the stage `train` as a job of Kubeflow Trainer 2. Trainer's torch runtime sets the variables by
which each node's torchrun finds the other nodes.
"""

import importlib.util
import re
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from .. import config as settings
from .. import files
from ..adapters.git import commit
from ..config.infra import Infra, Ray
from ..errors import UserError

if TYPE_CHECKING:
    from .sweep import Split

Key = TypeVar("Key")

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


def train(infra: Infra, ray: Ray) -> None:
    """Run the stage `train` on the cluster, and write here what it writes."""
    check_connection(ray.head)
    from .ray_cluster import train

    train(infra, ray)


def run_trials(
    trials: "Iterator[tuple[Key, dict[str, Any]]]", data: "Split", infra: Infra, ray: Ray
) -> "Iterator[tuple[Key, tuple[dict[str, float], float]]]":
    """Run a sweep's trials on the cluster, many at once; yield each key with its result as soon as it is done."""
    check_connection(ray.head)
    from .ray_cluster import run_trials

    return run_trials(trials, data, infra, ray)


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
