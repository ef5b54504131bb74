"""Drift becomes a judged pull request: drift.yaml of the generated project, whole, on April's flights."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.github import PullRequest, Run
from tests.github.events import on_branch
from tests.workflows.home import Home, results

pytestmark = pytest.mark.dear
IDLE = {"check": "success", "watch": "skipped", "train": "skipped", "verdict": "skipped"}
DONE = dict.fromkeys(["check", "train / train", "train / report", "verdict"], "success") | {"watch": "skipped"}
RED = dict.fromkeys(["train", "verdict"], "skipped") | {"check": "failure", "watch": "success"}
EASY = {"auc": {"min": 0.1}, "log_loss": {"max": 9}}  # floors that any model keeps


@pytest.fixture(autouse=True)
def main(started: tuple[Home, Run]) -> Iterator[None]:
    """Give main back as it was."""
    home, _ = started
    before = str(home.repository.branch("main"))
    yield
    home.alice.git("push", "-q", "--force", "origin", f"{before}:main")
    home.events()


def decree(home: Home, floors: dict[str, Any], margin: float, **drift: Any) -> None:
    """Change the policy on main: what a model must reach, how much worse it may be, when a new one is called for."""
    home.alice.git("fetch", "-q", "origin")
    home.alice.git("switch", "-q", "-C", "main", "origin/main")
    gates = yaml.safe_load((home.alice.folder / "gates.yaml").read_text())
    margins = dict.fromkeys(gates["champion"]["margins"], margin)
    gates |= {"floors": floors, "beats_baseline": ["log_loss"], "drift": gates["drift"] | drift}
    gates["champion"]["margins"], gates["slices"]["margin"] = margins, margin
    gates.pop("anchor", None)  # its margins follow the champion's
    home.alice.commit("Another policy", {"gates.yaml": yaml.safe_dump(gates, sort_keys=False)})
    home.alice.push("main")
    home.events()


def check(home: Home, until: str = "2013-04") -> Run:
    """Start the check by hand, as if the source had nothing newer than April."""
    chosen = {"workflow": ".github/workflows/drift.yaml", "inputs": {"until": until}}
    return home.run(on_branch(home.repository, home.alice.token, "workflow_dispatch", **chosen))


def retraining(home: Home) -> list[PullRequest]:
    """The retraining pull requests there are."""
    return [pull for pull in home.repository.pulls if pull.head == "retrain/auto"]


def test_drift_is_one_pull_request_with_data_model_report_and_verdict(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home.repository, "actions_may_open_pulls", True)
    # given a champion that is as good as on its holdout / when the schedule looks at the whole year
    decree(home, EASY, 5, performance={"margins": {"auc": 0.5, "log_loss": 5}}, maximum_age=1000)
    run = home.run(on_branch(home.repository, home.alice.token, "schedule", schedule="23 5 * * 1"))
    # then nothing is done, and the run is green
    assert results(run) == IDLE, run.log
    assert "2013-12" in run["check"].summary
    assert retraining(home) == []

    # given one that is too old, and a gate that no model passes
    decree(home, EASY | {"auc": {"min": 0.99}}, 5, maximum_age=1)
    run = check(home)
    # then the run is green, and the pull request is not: it has April, the lock, the report and the red verdict
    assert results(run) == DONE, run.log
    (pull,) = retraining(home)
    head = pull.head_sha
    assert run["train / report"].outputs["commit"] == head == home.repository.branch("retrain/auto")
    assert "2013-04" in str(home.repository.read(head, "data.dvc"))
    assert home.model(head) != home.model("origin/main")
    assert home.verdicts(head) == ["failure"]
    assert "30 values of date came since" in pull.body
    (report,) = pull.comments
    assert "floor: auc" in report.body

    # when the gate is mended on main, then the same pull request is brought up to date, from the cache, and is green
    decree(home, EASY, 5, maximum_age=1)
    run = check(home)
    assert results(run) == DONE, run.log
    assert retraining(home) == [pull]
    assert pull.head_sha != head
    assert home.verdicts(pull.head_sha) == ["success"]
    assert "epoch 1" not in run["train / train"].log
    assert len(pull.comments) == 1

    # when it is checked again, then nothing more is done
    head = pull.head_sha
    run = check(home)
    assert results(run) == IDLE, run.log
    assert (retraining(home), pull.head_sha, pull.state) == ([pull], head, "open")


def test_a_remote_that_is_down_is_red_with_one_line_and_the_second_time_an_issue(home: Home) -> None:
    before, away = home.repository.refs(), home.remote.rename(home.remote.with_name("away"))
    try:
        first, second = check(home), check(home)
    finally:
        away.rename(home.remote)
    for run in (first, second):
        assert results(run) == RED, run.log
        (line,) = run["check"].errors[:-1]  # the last one is GitHub's own
        assert line.startswith("dvc pull failed: ")
    (issue,) = [one for one in home.repository.issues.values() if one.title == "The drift check does not succeed"]
    assert f"runs/{first.id}" in issue.body
    assert line in issue.body
    assert home.repository.refs() == before
    # when the remote is back, then the next check closes it, and what no drift calls for any more
    assert results(check(home, until="2013-03")) == IDLE
    assert issue.state == "closed"
    assert {pull.state for pull in retraining(home)} <= {"closed"}
