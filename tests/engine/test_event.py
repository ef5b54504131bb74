"""What a run is for, from what GitHub says of it."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.attempts import attempt

from mergeworthy.adapters import actions, git
from mergeworthy.adapters.actions import NO_COMMIT, Event, current
from mergeworthy.errors import UserError


@pytest.fixture
def commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two commits on main, a third on a branch, in a job of GitHub's that was started by hand on that branch."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-qb", "main"], check=True)
    made = []
    for branch in ("main", "main", "work"):
        subprocess.run(["git", "checkout", "-qB", branch], check=True)
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", branch], check=True)
        made.append(git.resolve("HEAD") or "")
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", made[1]], check=True)
    for name, value in {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "workflow_dispatch",
        "GITHUB_EVENT_PATH": "event.json",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_REF_NAME": "work",
        "GITHUB_SHA": made[2],
    }.items():
        monkeypatch.setenv(name, value)
    happens()
    return made


def happens(**payload: object) -> None:
    Path("event.json").write_text(json.dumps(payload))


def test_a_click_on_a_branch_is_held_against_main(commits: list[str]) -> None:
    expected = Event("workflow_dispatch", commits[2], commits[1], branch="work", repository="o/r")
    assert current() == expected


def test_a_schedule_on_main_is_held_against_the_commit_before(
    commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"EVENT_NAME": "schedule", "REF_NAME": "main", "SHA": commits[1]}.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)
    assert current() == Event("schedule", commits[1], commits[0], branch="main", repository="o/r")


@pytest.mark.parametrize("before", [NO_COMMIT, "1" * 40])
def test_a_push_is_held_against_what_it_replaced(
    commits: list[str], monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    monkeypatch.setenv("GITHUB_EVENT_NAME", "push")
    happens(before=before)
    assert current().champion == (None if before == NO_COMMIT else before)


@pytest.mark.attempts("variables of the machine")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GITHUB_EVENT_PATH", None),
        ("GITHUB_EVENT_PATH", "nowhere.json"),
        ("GITHUB_SHA", None),
        ("GITHUB_EVENT_NAME", None),
        ("GITHUB_REF_NAME", None),
        ("PULL_REQUEST", "#7"),
        ("PULL_REQUEST", "7"),
    ],
)
def test_a_variable_of_the_runner_that_is_missing_is_named(
    name: str, value: str | None, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)

    refused = attempt(f"{name}={value}", current)

    assert isinstance(refused, str)
    assert {"7": "COMMIT", "nowhere.json": "nowhere.json"}.get(str(value), name) in refused


@pytest.mark.attempts("damaged file")
@pytest.mark.parametrize(
    "content",
    ["", "garbage", "[1]", "\xff", '{"pull_request": 5}', '{"merge_group": {"a": 1}}'],
)
def test_a_damaged_event_is_one_line(content: str, commits: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("event.json").write_text(content, encoding="latin-1")

    refused = attempt(f"event.json: {content}", current)

    assert isinstance(refused, str)
    assert "event.json" in refused
    if "{" not in content:
        assert "event.json" in str(attempt(f"default branch: {content}", git.default_branch))


@pytest.mark.parametrize("repository", [None, [], "o/r", {"default_branch": None}])
def test_an_event_that_names_no_default_branch_leaves_it_to_the_clone(commits: list[str], repository: object) -> None:
    happens(repository=repository)
    assert git.default_branch() == "main"


def test_a_pull_request_that_did_not_start_the_run_can_be_named(
    commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"COMMIT": commits[2], "BRANCH": "retrain/auto", "PULL_REQUEST": "7"}.items():
        monkeypatch.setenv(name, value)
    seen = {"branch": "retrain/auto", "pull_request": 7, "repository": "o/r"}
    expected = Event("pull_request", commits[2], commits[1], on_behalf=True, **seen)
    assert current() == expected


def test_act_on_a_laptop_is_a_laptop(commits: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPTOP", "here")
    assert current() == Event("", commits[2], None)


def test_the_default_branch_is_the_repositorys_own(commits: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # given a laptop whose clone noted nothing / then the usual name that exists; it is never the branch one works on
    assert Event("workflow_dispatch", commits[2], commits[1], branch="work", repository="o/r") == current()
    monkeypatch.delenv("GITHUB_ACTIONS")
    for config in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(config, os.devnull)
    assert git.default_branch() == "main"
    subprocess.run(["git", "update-ref", "-d", "refs/remotes/origin/main"], check=True)
    subprocess.run(["git", "branch", "-qm", "main", "master"], check=True)
    assert git.default_branch() == "master"
    # given a clone's note of its remote, then an event that says it
    subprocess.run(["git", "update-ref", "refs/remotes/origin/trunk", commits[0]], check=True)
    subprocess.run(["git", "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk"], check=True)
    assert git.default_branch() == "trunk"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    happens(repository={"default_branch": "release/2"})
    assert git.default_branch() == "release/2"
    # then a click on a branch is held against that
    subprocess.run(["git", "update-ref", "refs/remotes/origin/release/2", commits[0]], check=True)
    assert current().champion == commits[0]


def test_a_folder_inside_a_repository_is_refused(commits: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("models").mkdir()
    monkeypatch.chdir("models")
    with pytest.raises(UserError, match="not the top of its git repository"):
        current()


def test_a_default_branch_that_starts_no_workflow_is_warned_of(
    commits: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    actions.CI.parent.mkdir(parents=True)
    actions.CI.write_text("on:\n  pull_request:\n  push:\n    branches: [main, 'release/*']\n")
    for branch in ("main", "release/2"):
        actions.warn_unwatched(branch)
    assert capsys.readouterr().out == ""
    actions.warn_unwatched("trunk")
    assert capsys.readouterr().out.startswith("::warning file=.github/workflows/ci.yaml::no push to the default branch")
