"""Fixtures that many tests share: the template as git would hand it over, and one project made of it."""

from pathlib import Path

import pytest

from tests.bake import bake, export, git


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean git repository with this template in it."""
    return export(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def fresh(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flights project as generated. Read it, never write into it."""
    return bake(template, tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="session")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flights project, committed, for dear tests to work in together: its environment, data and model stay."""
    folder = bake(template, tmp_path_factory.mktemp("project"))
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Generated")
    return folder
