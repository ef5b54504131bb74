"""The content of the image, and the checks that pass only if it answers like the judged model."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.bake import PRODUCT, ROOT, git
from tests.release.fixtures import Shipped, edit
from tests.release.spoil import spoil
from tests.work import attempt, make, python

pytestmark = pytest.mark.dear

TOOLS = {"sh", "bash", "gcc", "cc", "ld", "as", "make", "pip", "pip3", "uv", "apt", "apt-get", "dpkg", "curl", "git"}

VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()))
"""


@pytest.fixture(scope="module")
def listing(shipped: Shipped, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return every path in the image."""
    archive = tmp_path_factory.mktemp("export") / "image.tar"
    container = shipped.podman("create", shipped.image)
    shipped.podman("export", "--output", str(archive), container)
    shipped.podman("rm", container)
    result = subprocess.run(["tar", "-tf", str(archive)], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines())


def test_the_image_holds_only_the_service(shipped: Shipped, listing: set[str]) -> None:
    own = {name.removeprefix("app/bento/src/") for name in listing if re.match(r"app/bento/src/.*[^/]$", name)}
    allowed = re.compile(
        r"(bentofile|infra)\.yaml|pyproject\.toml|dvc\.lock|models/model\.onnx|models/online/\w+\.parquet"
        r"|(engine/src/mergeworthy|src/ml)/.*\.(pyc?|yaml|json|typed)"
    )
    assert {"models/model.onnx", "models/online/weather.parquet", "src/ml/__init__.py"} <= own
    assert "engine/src/mergeworthy/serving/service.py" in own
    assert {name for name in own if not allowed.fullmatch(name)} == set()
    ignored = (shipped.project / ".bentoignore").read_text().splitlines()
    unused = tuple(path for path in ignored if path and not path.startswith("#"))
    assert {"engine/src/mergeworthy/stages/", "engine/src/mergeworthy/cli.py", "src/ml/model.py"} <= set(unused)
    assert not {name for name in own if name.startswith(unused)}


def test_the_image_holds_no_shell_compiler_installer_or_torch(listing: set[str]) -> None:
    programs = {Path(name).name for name in listing if re.match(r"(usr/)?(local/)?s?bin/|app/packages/bin/", name)}
    assert any(name.startswith("python3") for name in programs)
    assert not programs & TOOLS
    packages = {match[1].lower() for name in listing if (match := re.match(r"app/packages/([\w.]+)/", name))}
    assert {"bentoml", "onnxruntime"} <= packages
    assert not packages & {"torch", "mlflow", "dvc", "nvidia", "pip", "uv"}


def test_the_image_has_a_bill_of_materials(shipped: Shipped, listing: set[str], tmp_path: Path) -> None:
    # given the bill of materials in the image, then it names each installed package with its version
    container = shipped.podman("create", shipped.image)
    shipped.podman("cp", f"{container}:/app/sbom.json", str(tmp_path))
    shipped.podman("rm", container)
    assert python(shipped.project, "-c", VALIDATE, str(tmp_path / "sbom.json")).strip() == "None"
    bill = json.loads((tmp_path / "sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    named = {
        f"{component['name']}-{component['version']}".lower().replace("-", "_") for component in bill["components"]
    }
    installed = {
        match[1].lower().replace("-", "_")
        for name in listing
        if (match := re.match(r"app/packages/([^/]+)\.dist-info/$", name))
    }
    assert len(installed) > 20
    assert installed == named


def test_the_image_is_labelled_with_repository_and_commit(shipped: Shipped) -> None:
    labels = json.loads(shipped.podman("image", "inspect", "--format", "{{json .Labels}}", shipped.image))
    assert labels["org.opencontainers.image.source"] == "https://github.com/acme/flight-delays"
    (commit,) = git(shipped.project, "log", "--all", "--grep=^First model$", "--format=%H").split()
    assert labels["org.opencontainers.image.revision"] == commit


@pytest.mark.alone
def test_the_image_passes_its_checks(shipped: Shipped) -> None:
    assert (shipped.project / "gates.yaml").read_text() == (ROOT / PRODUCT / "gates.yaml").read_text()
    output = attempt(shipped.project, "verify-image", COLUMNS="200", **shipped.podman.settings).stdout
    print(output)
    assert output.count("✅") == 7, output


@pytest.mark.alone
def test_buildah_builds_the_image_if_no_other_engine_answers(shipped: Shipped, tmp_path: Path) -> None:
    # given a machine whose docker and podman fail
    project = shutil.copytree(shipped.project, tmp_path / "flight-delays", symlinks=True)
    edit(project / "infra.yaml", r"  repository: \S+", "  repository: localhost/by-buildah")
    (tmp_path / "bin").mkdir()
    for name in ("docker", "podman"):
        (tmp_path / "bin" / name).symlink_to("/bin/false")
    # when it is built
    settings = shipped.podman.settings
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "BUILDAH_ISOLATION": "chroot"}
    image = make(project, "image", **settings, **environment).split()[-1]
    # then it passes the same checks
    output = attempt(shipped.project, "verify-image", IMAGE=image, COLUMNS="200", **settings).stdout
    assert output.count("✅") == 7, output


@pytest.mark.alone
def test_an_image_with_another_model_is_not_trusted(shipped: Shipped, tmp_path: Path) -> None:
    # given the same service with a model whose weights are one per cent larger
    spoil(shipped, tmp_path, "localhost/spoilt", "USER 0")
    # when it is compared with the offline predictions
    result = attempt(
        shipped.project, "verify-image", IMAGE="localhost/spoilt", COLUMNS="200", **shipped.podman.settings
    )
    # then the failed checks are named, and the command fails
    assert result.returncode != 0
    blocked = {line.split("│")[1].strip() for line in result.stdout.splitlines() if "⛔" in line}
    assert blocked >= {"golden predictions", "user"}, result.stdout
