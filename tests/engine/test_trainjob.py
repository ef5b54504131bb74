"""The job has the schema of Kubeflow Trainer, and its command trains on several nodes by Trainer's variables."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml
from tests.engine.product import PACKAGES, PRODUCT

from mergeworthy import config as settings
from mergeworthy import files
from mergeworthy.errors import UserError
from mergeworthy.extras import clusters
from mergeworthy.stages import train

SCHEMA = yaml.safe_load((Path(__file__).parent / "trainjob.schema.yaml").read_text())
CLUSTER = {"image": "registry.example.org/train:1", "volume": "project", "resources": {"cpu": 4, "memory": "16Gi"}}


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


@pytest.fixture
def manifest(january: Callable[..., None], capsys: pytest.CaptureFixture[str], port: int) -> dict[str, object]:
    """Return the manifest that the verb prints for two nodes."""
    january(nodes=2, rendezvous=f"127.0.0.1:{port}")
    infra = yaml.safe_load(Path("infra.yaml").read_text())
    infra["tracking"]["experiment"] = "flight-delays"
    Path("infra.yaml").write_text(yaml.safe_dump(infra | {"cluster": CLUSTER}))
    clusters.print_trainjob()
    printed: dict[str, object] = yaml.safe_load(capsys.readouterr().out)
    return printed


def test_the_job_follows_trainers_schema(manifest: dict[str, object]) -> None:
    jsonschema.validate(manifest, SCHEMA)
    with pytest.raises(jsonschema.ValidationError, match="podTemplateOverrides"):
        jsonschema.validate(manifest | {"spec": {**manifest["spec"], "podTemplateOverrides": []}}, SCHEMA)


def test_its_command_trains_on_two_nodes(manifest: dict[str, object], tmp_path: Path, port: int) -> None:
    # given the variables that Trainer's torch runtime sets in each node's container
    infra = settings.infra()
    trainer = clusters.trainjob(infra.cluster, infra.compute, "x", str(tmp_path))["spec"]["trainer"]
    variables = {"PET_NNODES": str(trainer["numNodes"]), "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"])}
    variables |= {"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port)}
    for name in ("src", "engine"):
        (tmp_path / name).symlink_to(PRODUCT / name)
    trains_on_two_nodes(trainer["command"], variables)


def test_nodes_meet_without_a_cluster_at_the_rendezvous_of_infra_yaml(manifest: dict[str, object]) -> None:
    paths = {"PYTHONPATH": PACKAGES}
    trains_on_two_nodes([sys.executable, "-m", "mergeworthy.stages.train"], paths)


def trains_on_two_nodes(command: list[str], variables: dict[str, str]) -> None:
    """Check that both nodes end well, that only the first one prints, and that there is a model."""
    env = os.environ | variables | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    nodes = [
        subprocess.Popen(command, env=env | {"PET_NODE_RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    outputs = [node.communicate(timeout=120)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0]
    assert sorted(text.count("epoch") for text in outputs) == [0, 2]
    assert files.MODEL.exists()


def test_a_missing_setting_is_named(january: Callable[..., None]) -> None:
    january(nodes=2)
    with pytest.raises(UserError, match=r"infra\.yaml: cluster: "):
        clusters.print_trainjob()
    with pytest.raises(UserError, match=r"infra\.yaml: compute\.rendezvous: "):
        train.main()
