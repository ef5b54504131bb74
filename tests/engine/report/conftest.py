"""The project that most tests of the report start with."""

from pathlib import Path

import pytest
from tests.engine import reported
from tests.engine.reported import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = reported.make_project(tmp_path / "checkout")
    monkeypatch.chdir(project.root)
    return project
