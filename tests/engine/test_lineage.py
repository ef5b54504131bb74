"""What a model was made from, as tags."""

import shutil
from pathlib import Path

import pytest
from tests.engine import trained

from mergeworthy.adapters.dvc import lineage
from mergeworthy.errors import UserError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    trained.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_lock_alone_does_not_make_the_commit_dirty(project: Path) -> None:
    # given: a training always leaves a lock that is not committed yet
    with (project / "dvc.lock").open("a") as file:
        file.write("# later\n")
    assert lineage()["dirty"] == "false"
    assert lineage()["lock"] == trained.md5(project / "dvc.lock")
    # but code that no commit holds does
    (project / "new.py").write_text("")
    assert lineage()["dirty"] == "true"


def test_a_folder_without_a_commit_has_no_commit_to_name(project: Path) -> None:
    shutil.rmtree(project / ".git")
    assert lineage().keys() >= {"lock", "data", "model"}
    assert "commit" not in lineage()


@pytest.mark.parametrize("name", ["dvc.lock", "data.dvc"])
def test_a_broken_file_is_named(project: Path, name: str) -> None:
    (project / name).write_text("<<<<<<< ours\n- :")
    with pytest.raises(UserError, match=f"{name}, line 1: git's conflict markers"):
        lineage()
    (project / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        lineage()
