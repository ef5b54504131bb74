"""A merge that conflicts in dvc.lock takes the other branch's lock, and nothing else is decided for anybody."""

import subprocess
from pathlib import Path

import pytest

from mergeworthy.adapters import git
from mergeworthy.errors import UserError
from mergeworthy.workflow import plan


def sh(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()


def commit(**files: str) -> str:
    for name, text in files.items():
        Path(name.replace("_", ".")).write_text(text)
    sh("add", "-A")
    sh("commit", "-qm", "work")
    return sh("rev-parse", "HEAD")


@pytest.fixture(params=["", "models/flights"], ids=["top", "subfolder"])
def trained(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A branch and a main that trained apart; the folder of the project may not be the repository's top."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Alice")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "alice@example.org")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.chdir(tmp_path)
    sh("init", "-q", "-b", "main")
    (tmp_path / request.param).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / request.param)
    commit(dvc_lock="old\n", params_yaml="depth: 1\n", data_dvc="June\n", README="one\n")
    sh("switch", "-qc", "work")
    commit(dvc_lock="mine\n", params_yaml="depth: 2\n")
    sh("switch", "-q", "main")
    main = commit(dvc_lock="theirs\n", README="two\n")
    sh("switch", "-q", "work")
    return main


@pytest.mark.parametrize("under_way", [True, False])
def test_the_lock_of_the_default_branch_is_taken(trained: str, under_way: bool) -> None:
    if under_way:
        assert subprocess.run(["git", "merge", "-q", "main"], capture_output=True, check=False).returncode
    plan.run_resolve()
    assert Path("dvc.lock").read_text() == "theirs\n"
    assert (Path("params.yaml").read_text(), Path("README").read_text()) == ("depth: 2\n", "two\n")
    assert (sh("status", "--porcelain"), sh("rev-parse", "HEAD^2")) == ("", trained)
    # and again there is nothing to do
    plan.run_resolve()
    assert sh("rev-parse", "HEAD^2") == trained


def test_what_else_conflicts_is_named_and_can_be_solved(trained: str) -> None:
    sh("switch", "-q", "main")
    commit(params_yaml="depth: 3\n", data_dvc="July\n")
    sh("switch", "-q", "work")
    commit(data_dvc="August\n")
    with pytest.raises(UserError, match=r"^data.dvc, params.yaml conflict too: .*git checkout --theirs data.dvc"):
        plan.run_resolve()
    # when a person solved these, then the lock follows
    sh("checkout", "-q", "--theirs", "data.dvc", "params.yaml")
    sh("add", "data.dvc", "params.yaml")
    plan.run_resolve()
    assert (Path("dvc.lock").read_text(), Path("data.dvc").read_text()) == ("theirs\n", "July\n")
    assert git.resolve("MERGE_HEAD") is None


def test_changes_that_are_not_committed_stay(trained: str) -> None:
    Path("params.yaml").write_text("depth: 9\n")
    with pytest.raises(UserError, match="commit them first"):
        plan.run_resolve()
    assert Path("params.yaml").read_text() == "depth: 9\n"
