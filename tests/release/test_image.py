"""What is in the image, and that only an image which answers like the judged model is trusted."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.release.conftest import Shipped
from tests.work import attempt, python

pytestmark = pytest.mark.dear

TOOLS = {"sh", "bash", "gcc", "cc", "ld", "as", "make", "pip", "pip3", "uv", "apt", "apt-get", "dpkg", "curl", "git"}
SPOIL = """
import sys
import onnx
from onnx import numpy_helper
model = onnx.load(sys.argv[1])
for weight in model.graph.initializer:
    values = numpy_helper.to_array(weight)
    if values.dtype == "float32" and values.ndim == 2:
        weight.CopyFrom(numpy_helper.from_array(values * 1.01, weight.name))
onnx.save(model, sys.argv[2])
"""


@pytest.fixture(scope="module")
def listing(shipped: Shipped, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every path in the image."""
    archive = tmp_path_factory.mktemp("export") / "image.tar"
    container = shipped.podman("create", shipped.image)
    shipped.podman("export", "--output", str(archive), container)
    shipped.podman("rm", container)
    done = subprocess.run(["tar", "-tf", str(archive)], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def test_the_image_holds_the_service_and_nothing_of_the_project_beside(listing: set[str]) -> None:
    own = {name.removeprefix("app/bento/src/") for name in listing if re.match(r"app/bento/src/.*[^/]$", name)}
    allowed = re.compile(
        r"bentofile\.yaml|infra\.yaml|dvc\.lock|models/model\.onnx|models/online/\w+\.parquet|src/pipeline/.*\.pyc?"
    )
    assert {"models/model.onnx", "models/online/weather.parquet", "src/pipeline/ml/__init__.py"} <= own
    assert {name for name in own if not allowed.fullmatch(name)} == set()
    assert not {name for name in own if re.match("src/pipeline/(ops|stages)/", name)}


def test_the_image_holds_no_shell_compiler_installer_or_torch(listing: set[str]) -> None:
    programs = {Path(name).name for name in listing if re.match(r"(usr/)?(local/)?s?bin/|app/packages/bin/", name)}
    assert any(name.startswith("python3") for name in programs)
    assert not programs & TOOLS
    packages = {match[1].lower() for name in listing if (match := re.match(r"app/packages/([\w.]+)/", name))}
    assert {"bentoml", "onnxruntime"} <= packages
    assert not packages & {"torch", "mlflow", "dvc", "nvidia", "pip", "uv"}


def test_the_image_keeps_to_its_gates(shipped: Shipped) -> None:
    said = shipped.make("verify-image", COLUMNS="200")
    print(said)
    assert said.count("✅") == 6


def test_an_image_with_another_model_is_not_trusted(shipped: Shipped, tmp_path: Path) -> None:
    # given the same service with a model that is one per cent off
    program = tmp_path / "spoil.py"
    program.write_text(SPOIL)
    python(shipped.project, str(program), str(shipped.project / "models/model.onnx"), str(tmp_path / "model.onnx"))
    (tmp_path / "Containerfile").write_text(
        f"FROM {shipped.image}\nCOPY model.onnx /app/bento/src/models/model.onnx\nUSER 0\n"
    )
    shipped.podman("build", "--quiet", "--tag", "localhost/spoilt", str(tmp_path))
    # when it is held against the offline predictions
    done = attempt(shipped.project, "verify-image", IMAGE="localhost/spoilt", COLUMNS="200", **shipped.podman.settings)
    # then what is wrong is named, and nothing goes on
    assert done.returncode != 0
    blocked = {line.split("│")[1].strip() for line in done.stdout.splitlines() if "⛔" in line}
    assert blocked >= {"golden predictions", "user"}, done.stdout
