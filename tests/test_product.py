"""What is generated runs: the demo, the project's own checks and tests, and the product unrendered, as it stands."""

import json
import shutil
from pathlib import Path

import pytest

from tests.bake import PRODUCT, git, outside, run

pytestmark = pytest.mark.dear


def test_the_demo_leaves_a_judged_model(project: Path) -> None:
    # given what `make demo` leaves / then there is a model, a verdict on it, and figures to look at
    verdict = json.loads((project / "reports/verdict.json").read_text())
    assert verdict["verdict"] in {"pass", "warn"}
    assert (project / "models/model.onnx").stat().st_size > 1000
    assert json.loads((project / "reports/metrics.json").read_text())
    assert list((project / "reports/plots").glob("*.png"))


def test_what_a_run_writes_is_known_to_git_or_dvc(project: Path) -> None:
    # given a finished run / then only the lock, the model's identity, waits for a commit
    changed = {line[3:] for line in git(project, "status", "--porcelain").splitlines() if line[:2].strip() != "A"}
    assert changed <= {"dvc.lock"}


@pytest.mark.parametrize("verb", ["check", "test"])
def test_a_project_passes_its_own(project: Path, verb: str) -> None:
    result = run(["make", verb], project, **outside())
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-3000:]


@pytest.mark.parametrize("tool", [["ruff", "check", "src", "tests"], ["mypy"], ["pytest", "tests/ml"]])
def test_the_product_is_whole_unrendered(template: Path, project: Path, tmp_path: Path, tool: list[str]) -> None:
    # given the product as it stands, with the environment of a project that was made of it
    shutil.copytree(template / PRODUCT, tmp_path / PRODUCT)
    environment = outside() | {"PYTHONPATH": "src"}
    environment["PATH"] = f"{project}/.venv/bin:{environment['PATH']}"
    result = run(["bash", "-c", 'exec "$@"', "bash", *tool], tmp_path / PRODUCT, **environment)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-3000:]
