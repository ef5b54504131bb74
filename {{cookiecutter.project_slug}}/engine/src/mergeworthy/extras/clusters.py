"""Training on other machines: a Ray cluster, or a job of Kubeflow Trainer."""

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

# DOC extras.ray.reach: Can the cluster be asked? Told in some seconds, and without Ray's import.

TIMEOUT = 5  # seconds until an address that does not answer counts as wrong


def reach(address: str) -> None:
    """Raise `UserError` where Ray is not installed here, or nothing listens at `address`."""
    if not importlib.util.find_spec("ray"):
        raise UserError("infra.yaml: ray: the package is not installed here: run `make setup`")
    found = re.fullmatch(r"ray://(.+):(\d+)", address)
    if not found:
        raise UserError(f"infra.yaml: ray.address, or RAY_ADDRESS: {address} is not ray://host:port")
    try:
        socket.create_connection((found[1], int(found[2])), TIMEOUT).close()
    except OSError as error:
        raise UserError(f"no Ray cluster answers at {address} ({error}): see infra.yaml, or RAY_ADDRESS") from None


# DOC extras.ray.stage: The stage `train`, handed to a Ray cluster. Nothing here imports Ray before an address
# answers.


def train(infra: Infra, wanted: Ray) -> None:
    """Run the stage there, and write here what it writes."""
    reach(wanted.head)
    from .ray_cluster import train

    train(infra, wanted)


# DOC extras.ray.__init__: Ray, where one machine is not enough: the stage `train` and a sweep's trials on the cluster
# of infra.yaml. Nothing is shared with its machines but their packages: code and inputs travel there, what comes of
# them travels back.

if TYPE_CHECKING:
    from .sweep_trial import Split

Key = TypeVar("Key")


def tried(
    asked: "Iterator[tuple[Key, dict[str, Any]]]", data: "Split", infra: settings.Infra, wanted: settings.Ray
) -> "Iterator[tuple[Key, tuple[dict[str, float], float]]]":
    """Try parameters there, many at once; give each key with what came of it, in the order in which they are done."""
    reach(wanted.head)
    from .ray_cluster import tried

    return tried(asked, data, infra, wanted)


# DOC extras.trainjob: `make trainjob`: the stage `train` as a job of Kubeflow Trainer 2, made from infra.yaml. Its
# torch runtime tells every node's torchrun, by variables, how many there are and where they meet.

PLACE = "/project"
CODE = "PYTHONPATH=src:engine/src"
NODE = "node"  # what Trainer's runtimes call their replicated job and its container
LENGTH = 63  # of a name in Kubernetes


def show() -> None:
    """Print the manifest, named by the commit: applied twice it is one job."""
    infra = settings.infra()
    if infra.cluster is None:
        raise UserError("infra.yaml: cluster: says where the job runs; it needs an image and a volume")
    name = infra.tracking.experiment[: LENGTH - 8].rstrip("-")
    print(files.dump_yaml(manifest(infra.cluster, infra.compute, f"{name}-{(commit() or 'none')[:7]}")))


def manifest(cluster: settings.Cluster, compute: settings.Compute, name: str, place: str = PLACE) -> dict[str, Any]:
    """Give the TrainJob (trainer.kubeflow.org/v1alpha1, as of Trainer 2.3.0); the checkout lies at `place`."""
    volume = {
        "volumes": [{"name": "project", "persistentVolumeClaim": {"claimName": cluster.volume}}],
        "containers": [{"name": NODE, "volumeMounts": [{"name": "project", "mountPath": place}]}],
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
                    f"--chdir={place}",
                    CODE,
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
