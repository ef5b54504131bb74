"""`make push` with a real DVC: green if the remote has all that is recorded, red if something is lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.engine.product import PACKAGES, PRODUCT

from mergeworthy.files import MODEL


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose model DVC keeps, beside a remote in a folder."""
    folder = tmp_path / "project"
    (folder / MODEL).parent.mkdir(parents=True)
    (folder / MODEL).write_bytes(b"model")
    monkeypatch.chdir(folder)
    for command in (
        ["git", "init", "--quiet"],
        [sys.executable, "-m", "dvc", "init", "--quiet"],
        [sys.executable, "-m", "dvc", "remote", "add", "--quiet", "--default", "storage", str(tmp_path / "storage")],
        [sys.executable, "-m", "dvc", "add", "--quiet", str(MODEL)],
    ):
        subprocess.run(command, check=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})
    for name in (
        "pyproject.toml",
        "dvc.yaml",
        ".tools/bin/uv",
        ".venv/.ready",
    ):  # a project, whose environment is there
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return folder


def push() -> subprocess.CompletedProcess[str]:
    known = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "GITHUB_ACTIONS")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = known | {"PYTHONPATH": PACKAGES, "PATH": path, "UV_OFFLINE": "1"}
    command = ["make", "--file", str(PRODUCT / "Makefile"), "push"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_push_without_the_model_is_red(project: Path) -> None:
    # given a model that was pushed
    done = push()
    assert done.returncode == 0, done.stderr
    # when neither the cache nor the remote has it any more
    for lost in (Path(".dvc/cache"), project.parent / "storage", MODEL):
        shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    done = push()
    # then it is red, by one line that names it
    assert done.returncode != 0
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert str(MODEL) in error
    assert "make data pipeline push" in error
    assert "Traceback" not in done.stderr
