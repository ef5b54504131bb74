"""The engine's DIGEST: up to date here, and what a project edits, adds or removes is named."""

import shutil
from pathlib import Path

import pytest

from scripts.digest import ENGINE, patches


@pytest.fixture
def engine(fresh: Path, tmp_path: Path) -> Path:
    """The engine of a generated project, to edit."""
    return Path(shutil.copytree(fresh / "engine", tmp_path / "engine"))


def test_the_digest_is_up_to_date() -> None:
    assert (ENGINE / "DIGEST").read_text() == patches().content(ENGINE), "run `python -m scripts.digest`"


def test_a_generated_project_has_the_engine_as_delivered(engine: Path) -> None:
    assert patches().changed(engine) == []


def test_what_was_edited_added_or_removed_is_named(engine: Path) -> None:
    (engine / "README.md").unlink()
    (engine / "src/mergeworthy/more.py").write_text("")
    with (engine / "src/mergeworthy/cli.py").open("a") as file:
        file.write("# ours\n")
    changed = ["README.md (removed)", "src/mergeworthy/cli.py (edited)", "src/mergeworthy/more.py (added)"]
    assert patches().changed(engine) == [f"engine/{each}" for each in changed]


def test_line_endings_and_what_tools_leave_behind_change_nothing(engine: Path) -> None:
    path = engine / "src/mergeworthy/cli.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    for name in (".ruff_cache/x", "src/mergeworthy/__pycache__/cli.pyc", "dist/mergeworthy.whl"):
        (engine / name).parent.mkdir(parents=True, exist_ok=True)
        (engine / name).write_text("")
    assert patches().changed(engine) == []


def test_without_an_engine_there_is_nothing_to_compare(tmp_path: Path) -> None:
    assert patches().changed(tmp_path / "engine") is None
    assert "tool.uv.sources" in patches().sentence(None)
