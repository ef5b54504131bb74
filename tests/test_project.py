"""The generated project at work: its checks, its data, its pipeline and its gate, through its own verbs."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from tests.bake import PRODUCT, ROOT, export, files, git, run
from tests.work import clone, make, own_code

pytestmark = pytest.mark.dear

TYPES = ["mypy", "lint-imports"]
ENGINE_TESTS = "pytest -c ../tests/engine/pytest.ini ../tests/engine -n 2 --durations=10"
DATA_HASH = yaml.safe_load((ROOT / PRODUCT / "data.dvc").read_text())["outs"][0]["md5"]


@pytest.fixture(scope="session")
def trained(project: Path) -> Path:
    """A clone with the first model committed, and pushed to its DVC remote."""
    folder = clone(project, project.parent / "trained")
    shutil.copytree(project / "data", folder / "data")
    make(folder, "pipeline", "gate", "push")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "First model")
    return folder


def test_the_project_keeps_its_own_checks(project: Path) -> None:
    assert "kept" in make(project, "check")


@pytest.mark.parametrize("command", ["ruff check src tests", "ruff format --check src tests", *TYPES, "pytest"])
def test_what_a_team_owns_is_linted_typed_and_tested_unrendered(project: Path, tmp_path: Path, command: str) -> None:
    # given the environment of a generated project, when its tools run in the template's own folder, as git has it
    folder = export(tmp_path) / PRODUCT
    # then they find nothing
    finds_nothing(command, project / ".venv/bin", folder, folder)


@pytest.mark.parametrize("command", ["ruff check .", "ruff format --check .", *TYPES])
def test_the_engine_is_linted_and_typed(project: Path, tmp_path: Path, command: str) -> None:
    folder = export(tmp_path) / PRODUCT
    finds_nothing(command, project / ".venv/bin", folder, folder / "engine")


@pytest.mark.alone
def test_the_engines_own_tests_pass(engine_programs: Path, tmp_path: Path) -> None:
    folder = export(tmp_path) / PRODUCT
    # where the service may take longer under load than its own tests give it
    finds_nothing(ENGINE_TESTS, engine_programs, folder, folder, LOAD_SECONDS="60")


def finds_nothing(command: str, programs: Path, product: Path, folder: Path, **environment: str) -> None:
    """Run a program of an environment on the product's code in `folder`; fail with what it prints unless it exits 0."""
    program, *arguments = command.split()
    paths = own_code(product)
    paths["PATH"] = f"{programs}{os.pathsep}{paths['PATH']}"
    done = run([str(programs / program), *arguments], folder, **paths, **environment)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]


def test_the_data_is_the_data_that_the_template_promises(trained: Path) -> None:
    assert yaml.safe_load((trained / "data.dvc").read_text())["outs"][0]["md5"] == DATA_HASH
    assert git(trained, "status", "--porcelain", "--", "data.dvc") == ""


def test_the_first_model_is_judged_and_may_be_merged(trained: Path) -> None:
    verdict = json.loads((trained / "reports/verdict.json").read_text())
    assert verdict["outcome"] != "block", verdict
    assert {check["name"] for check in verdict["checks"]} > {"data contract", "floor: auc", "champion"}


def test_the_same_input_gives_the_same_lock(trained: Path, tmp_path: Path) -> None:
    # given a clone elsewhere on disk, with the same data and no cache
    again = clone(trained, tmp_path / "elsewhere")
    shutil.copytree(trained / "data", again / "data")
    lock = (again / "dvc.lock").read_text()
    (again / "dvc.lock").unlink()
    # when everything is made anew
    (again / "engine/src/mergeworthy/__pycache__").mkdir(exist_ok=True)  # bytecode is no input
    make(again, "pipeline")
    # then every hash is the same
    assert yaml.safe_load((again / "dvc.lock").read_text()) == yaml.safe_load(lock)


def test_a_fresh_clone_with_a_lock_fetches_and_trains_nothing(trained: Path, tmp_path: Path) -> None:
    fresh = clone(trained, tmp_path / "fresh")
    said = make(fresh, "pipeline")
    assert "Running stage" not in said
    assert not (fresh / ".dvc/cache").exists() or not list(files(fresh / ".dvc/cache"))
    assert not (fresh / "models/model.onnx").exists()


def test_a_second_run_changes_nothing(trained: Path) -> None:
    said = make(trained, "data", "pipeline", "gate")
    assert "Running stage" not in said
    assert git(trained, "status", "--porcelain") == ""
