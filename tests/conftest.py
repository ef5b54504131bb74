"""Fixtures that many tests share: the template as git would hand it over, and projects made of it."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from tests.bake import ROOT, Problems, bake, export, git, outside, run
from tests.turns import (
    locked,
    pytest_collection_modifyitems,
    pytest_xdist_make_scheduler,
    shared_folder,
    taking_turns,
)
from tests.work import uv

__all__ = ["pytest_collection_modifyitems", "pytest_xdist_make_scheduler"]

pytest_plugins = ["tests.attempts", "tests.github.fixtures", "tests.release.fixtures"]
pytest_runtest_protocol = taking_turns(ROOT / "tests/turns.py", ROOT / "tests/conftest.py")


@pytest.fixture(scope="session", autouse=True)
def type_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One cache of mypy for all projects that tests make. It goes by content, and torch has many types."""
    os.environ["MYPY_CACHE_DIR"] = str(shared_folder(tmp_path_factory) / "mypy")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean git repository with this template in it."""
    return export(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def fresh(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flights project as generated. Read it, never write into it."""
    return bake(template, tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flights project with its first commit, as generated; what `make demo` made since is not committed.

    Environment, data, caches and model are there, so that tests need not make them again. Clone it to change it.
    """
    shared = shared_folder(tmp_path_factory)
    folder = shared / "stranger/demo/flight-delays"
    (shared / "lock").touch()
    with locked(shared / "lock"):
        if not (shared / "made").exists():
            _demo(export(shared / "stranger"), folder)
            (shared / "made").touch()
    return folder


@pytest.fixture(scope="session")
def engine_programs(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment in which the engine's tests run: a project's packages, and theirs.

    It is made once a run, from uv's cache, so that the project's own environment stays as a team has it.
    """
    shared = shared_folder(tmp_path_factory)
    folder, ready = shared / "engine", shared / "engine-ready"
    with locked(shared / "lock"):
        if not ready.exists():
            _engine_environment(project, folder)
            ready.touch()
    return folder / ".venv/bin"


def _engine_environment(project: Path, folder: Path) -> None:
    """Clone the project with the versions that it has, and install what the engine's tests need beside them."""
    git(project.parent, "clone", "-q", str(project), str(folder))
    shutil.copy(project / "uv.lock", folder)
    constraints = folder.with_name("engine-constraints.txt")
    python = ["--python", str(project / ".venv/bin/python")]
    uv(folder, "sync", "--quiet", "--frozen", *python)
    constraints.write_text(uv(folder, "pip", "freeze", "--exclude-editable"))
    needed = ["-r", str(ROOT / "tests/engine/requirements.txt"), "-c", str(constraints)]
    uv(folder, "pip", "install", "--quiet", *needed)


def _demo(stranger: Path, folder: Path) -> None:
    """Run the README's first command; commit the project that it generated, but for `dvc.lock`."""
    result = run(["make", "demo"], stranger, **outside())
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-5000:]
    git(folder, "reset", "-q")
    git(folder, "add", "-A", "--", ".", ":!dvc.lock")
    git(folder, "commit", "-q", "-m", "Generated")


@pytest.fixture(scope="session")
def problems() -> Problems:
    """The hook's own function, loaded from the file as it stands."""
    spec = importlib.util.spec_from_file_location("pre_gen_project", ROOT / "hooks/pre_gen_project.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Problems = module.problems
    return found
