"""Projects are made once and copied: real git and DVC take seconds."""

from pathlib import Path

import pytest
from tests.engine.gate.project import GOOD, Project, copy, found


@pytest.fixture(scope="session")
def _without_model(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return found(tmp_path_factory.mktemp("young"))


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
    """A project that never trained."""
    return copy(_without_model, tmp_path)


@pytest.fixture
def project(_with_champion: Project, tmp_path: Path) -> Project:
    """A project whose main has a good model, pushed to DVC's remote; on a branch of its own."""
    return copy(_with_champion, tmp_path)
