"""`make trainjob`: the stage `train` as a job of Kubeflow Trainer 2, made from infra.yaml.

Its torch runtime tells every node's torchrun, by variables, how many there are and where they meet.
"""

from typing import Any

from .. import config as settings
from .. import files
from ..adapters.lineage import commit
from ..errors import UserError

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
