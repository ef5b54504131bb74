"""The project that most of the report's tests begin with."""

from pathlib import Path

import pytest
from tests.engine import reported
from tests.engine.reported import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = reported.made(tmp_path / "checkout")
    monkeypatch.chdir(made.root)
    return made
