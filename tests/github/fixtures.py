"""Fixtures: a stand-in, a repository in it, and the clone of a maintainer who pushed a small workflow to main."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bake import PRODUCT, ROOT
from tests.tools import require

from .clone import Clone
from .process import TOOLS
from .repository import Repository
from .server import GitHub
from .tokens import Level, Token

SAMPLE = {name: (Path(__file__).parent / "sample" / name).read_text() for name in ("ci.yaml", "train.yaml")}


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHub]:
    """GitHub, for one test."""
    require(*TOOLS)
    with GitHub(tmp_path / "github") as server:
        yield server


@pytest.fixture
def flights(github: GitHub) -> Repository:
    """An empty repository."""
    return github.create("acme/flights")


@pytest.fixture
def alice(github: GitHub, flights: Repository, tmp_path: Path) -> Clone:
    """The clone of somebody who may do everything; the sample workflow is on main."""
    token = github.token("user", "alice", flights.full_name, bypass=True)
    clone = Clone(github, flights, token, tmp_path / "alice")
    files = {f".github/workflows/{name}": text for name, text in SAMPLE.items()}
    settings = {name: (ROOT / PRODUCT / name).read_text() for name in ("dvc.yaml", "gates.yaml")}  # a project's folder
    clone.commit("Start", {**files, **settings, "work": "epochs", "work.sh": "true"})
    clone.push("main")
    return clone


def bot(github: GitHub, repository: Repository, **permissions: Level) -> Token:
    """The token of a job with these permissions."""
    grants = {name.replace("_", "-"): level for name, level in permissions.items()}
    return github.token("actions", "github-actions[bot]", repository.full_name, permissions=grants)
