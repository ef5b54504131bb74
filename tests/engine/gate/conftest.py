"""Projects of the gate's tests: each is created once and copied, as real git and DVC take seconds."""

from pathlib import Path

import pytest
from tests.engine.gate.project import GOOD, Project, copy, create_project


@pytest.fixture(scope="session")
def _without_model(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return create_project(tmp_path_factory.mktemp("young"))


@pytest.fixture(scope="session")
def _with_champion(_without_model: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy(_without_model, tmp_path_factory.mktemp("grown"))
    project.ship(**GOOD)
    project.commit("The first model")
    project.dvc("push")
    project.sh("git", "switch", "--quiet", "--create", "work")
    return project


@pytest.fixture
def young(_without_model: Project, tmp_path: Path) -> Project:
    """Return a project without a model."""
    return copy(_without_model, tmp_path)


@pytest.fixture
def project(_with_champion: Project, tmp_path: Path) -> Project:
    """Return a project whose main has a good model, pushed to DVC's remote; another branch is checked out."""
    return copy(_with_champion, tmp_path)
