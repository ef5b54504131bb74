"""The job is what Kubeflow Trainer takes, and its command trains on several nodes, told by Trainer's variables."""

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
from mergeworthy import paths
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
def shown(january: Callable[..., None], capsys: pytest.CaptureFixture[str], port: int) -> dict[str, object]:
    """What the verb prints for two nodes."""
    january(nodes=2, rendezvous=f"127.0.0.1:{port}")
    infra = yaml.safe_load(Path("infra.yaml").read_text())
    infra["tracking"]["experiment"] = "flight-delays"
    Path("infra.yaml").write_text(yaml.safe_dump(infra | {"cluster": CLUSTER}))
    clusters.show()
    made: dict[str, object] = yaml.safe_load(capsys.readouterr().out)
    return made


def test_the_job_keeps_its_schema(shown: dict[str, object]) -> None:
    jsonschema.validate(shown, SCHEMA)
    with pytest.raises(jsonschema.ValidationError, match="podTemplateOverrides"):
        jsonschema.validate(shown | {"spec": {**shown["spec"], "podTemplateOverrides": []}}, SCHEMA)


def test_its_command_trains_on_two_nodes(shown: dict[str, object], tmp_path: Path, port: int) -> None:
    # given what Trainer's torch runtime sets in each node's container
    infra = settings.infra()
    trainer = clusters.manifest(infra.cluster, infra.compute, "x", str(tmp_path))["spec"]["trainer"]
    told = {"PET_NNODES": str(trainer["numNodes"]), "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"])}
    told |= {"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port)}
    for name in ("src", "engine"):
        (tmp_path / name).symlink_to(PRODUCT / name)
    trains_on_two_nodes(trainer["command"], told)


def test_nodes_meet_without_a_cluster_where_infra_yaml_says(shown: dict[str, object]) -> None:
    paths = {"PYTHONPATH": PACKAGES}
    trains_on_two_nodes([sys.executable, "-m", "mergeworthy.stages.train"], paths)


def trains_on_two_nodes(command: list[str], told: dict[str, str]) -> None:
    """Both end well, the first one tells, and the model is there."""
    told = os.environ | told | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    nodes = [
        subprocess.Popen(command, env=told | {"PET_NODE_RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    said = [node.communicate(timeout=120)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0]
    assert sorted(text.count("epoch") for text in said) == [0, 2]
    assert paths.MODEL.exists()


def test_says_what_is_missing(january: Callable[..., None]) -> None:
    january(nodes=2)
    with pytest.raises(UserError, match=r"infra\.yaml: cluster: "):
        clusters.show()
    with pytest.raises(UserError, match=r"infra\.yaml: compute\.rendezvous: "):
        train.main()
