"""If a run judges no model, the comment on the pull request quotes the errors of the failed jobs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.engine.pull_request import PullRequest, open_pull_request

from mergeworthy.errors import UserError
from mergeworthy.report import MARKER
from mergeworthy.workflow import plan

EXIT = {"annotation_level": "failure", "message": "Process completed with exit code 1."}
JOBS = [
    {"name": "checks", "conclusion": "success", "check_run_url": "https://api.github.com/repos/o/r/check-runs/11"},
    {
        "name": "train / train",
        "conclusion": "failure",
        "check_run_url": "https://api.github.com/repos/o/r/check-runs/12",
    },
]


@pytest.fixture
def pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PullRequest:
    """A run whose training failed with these two annotations."""
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    subprocess.run(["git", "init", "--quiet"], check=True)
    pull = open_pull_request(tmp_path / "github", monkeypatch)
    error = {"annotation_level": "failure", "message": "data/2013-01: `distance` <b>1,400</b> is above 100"}
    pull.change(jobs=JOBS, annotations={"12": [error, EXIT]})
    return pull


def training_failed(monkeypatch: pytest.MonkeyPatch, reported: str) -> None:
    """Set the results of the jobs: training failed; `reported` is the outcome of sending the report."""
    needs = {
        "checks": {"result": "success"},
        "plan": {"result": "success", "outputs": {"work": "train"}},
        "train": {"result": "failure", "outputs": {"reported": reported}},
    }
    monkeypatch.setenv("NEEDS", json.dumps(needs))


def run_check(monkeypatch: pytest.MonkeyPatch, reported: str) -> None:
    """Run the required check after a training that failed."""
    training_failed(monkeypatch, reported)
    with pytest.raises(UserError, match="not green: train: failure"):
        plan.run_required_check()


@pytest.mark.parametrize(("actor", "hinted"), [("dependabot[bot]", True), ("alice", False)])
def test_dependabots_secrets_are_named(
    pull: PullRequest, monkeypatch: pytest.MonkeyPatch, actor: str, hinted: bool
) -> None:
    monkeypatch.setenv("GITHUB_ACTOR", actor)
    run_check(monkeypatch, "")
    (body,) = pull.our_comments()
    assert ("Secrets and variables → Dependabot" in body) == hinted


def test_the_comment_quotes_the_job_that_failed(pull: PullRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    run_check(monkeypatch, "")
    (body,) = pull.our_comments()
    assert body.startswith(f"{MARKER}\n## ⛔ No model was judged")
    assert "\n    data/2013-01: `distance` <b>1,400</b> is above 100\n" in body  # indented: code, whatever it holds
    assert "Process completed" not in body
    assert "checks" not in body


def test_a_job_without_an_error_of_its_own_is_quoted_with_githubs(
    pull: PullRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull.change(annotations={"12": [EXIT]})
    run_check(monkeypatch, "skipped")
    assert "Process completed with exit code 1." in pull.our_comments()[0]


def test_a_plan_that_failed_is_quoted_too(pull: PullRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    pull.change(jobs=[JOBS[0], {**JOBS[1], "name": "plan"}])
    needs = {"checks": {"result": "success"}, "plan": {"result": "failure"}, "train": {"result": "skipped"}}
    monkeypatch.setenv("NEEDS", json.dumps(needs))
    with pytest.raises(UserError, match="not green: plan: failure, train: skipped"):
        plan.run_required_check()
    assert "**plan** failed:" in pull.our_comments()[0]


def test_a_report_that_was_sent_is_not_replaced(pull: PullRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    run_check(monkeypatch, "success")
    assert pull.our_comments() == []


def test_a_failed_retraining_is_red_on_its_own_pull_request(pull: PullRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a run of the drift check, about pull request 5
    for name, value in {"COMMIT": "a" * 40, "BRANCH": "retrain/auto", "PULL_REQUEST": "5"}.items():
        monkeypatch.setenv(name, value)
    training_failed(monkeypatch, "")
    # when the required check runs, then its result is on that pull request, and this run does not fail
    plan.run_required_check()
    assert pull.state["checks"] == [["a" * 40, "failure"]]
    assert "`distance`" in pull.our_comments()[0]


@pytest.mark.parametrize(
    ("crash", "message"), [("UserError('50% of\\nx')", "50%25 of x"), ("KeyError('x')", "KeyError: 'x'")]
)
def test_an_error_in_ci_is_an_annotation(crash: str, message: str) -> None:
    code = f"from mergeworthy.errors import *\ndef main(): raise {crash}\nrun(main)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"GITHUB_ACTIONS": "true", "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 1
    assert f"::error::{message}\n" in done.stderr
