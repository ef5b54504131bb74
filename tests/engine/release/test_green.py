"""A release follows the verdict of this repository's own jobs, not a check of the same name."""

from pathlib import Path
from typing import Any

import pytest
from tests.engine.pull_request import open_pull_request

from mergeworthy.adapters import github
from mergeworthy.adapters.actions import Event
from mergeworthy.release.promote import is_green

COMMIT = "c" * 40
MAIN = Event("push", COMMIT, None, branch="main", repository="o/r")
ACTIONS, OTHER = {"id": 15368, "slug": "github-actions"}, {"id": 7, "slug": "helpful-bot"}


def check(conclusion: str | None, app: dict[str, Any] | None) -> dict[str, Any]:
    """A check run as GitHub lists it."""
    return {"id": 1, "name": "verdict", "head_sha": COMMIT, "conclusion": conclusion, "app": app}


@pytest.mark.parametrize(
    ("runs", "green"),
    [
        ([check("success", ACTIONS)], True),
        ([check("success", ACTIONS), check("skipped", ACTIONS)], True),
        ([check("success", ACTIONS), check("failure", OTHER)], True),
        ([], False),
        ([check("success", OTHER)], False),
        ([check("success", None)], False),
        ([check("success", OTHER), check("failure", ACTIONS)], False),
        ([check("success", OTHER), check("skipped", ACTIONS)], False),
        ([check("success", ACTIONS), check(None, ACTIONS)], False),
        ([check("success", ACTIONS), check("cancelled", ACTIONS)], False),
    ],
)
def test_only_the_verdict_of_github_actions_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[dict[str, Any]], *, green: bool
) -> None:
    open_pull_request(tmp_path, monkeypatch).change(check_runs=runs)
    assert is_green(MAIN, COMMIT) is green


def test_a_verdict_of_another_app_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a check that no job may change
    pull = open_pull_request(tmp_path, monkeypatch)
    pull.change(check_runs=[check("success", OTHER)])
    github.conclude(MAIN, COMMIT, success=False, summary="not green")
    assert pull.state["checks"] == [[COMMIT, "failure"]]
