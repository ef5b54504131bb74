"""A push becomes a verdict: ci.yaml and train.yaml of the generated project, whole, on real flights."""

import pytest

from tests.github import Run, approve
from tests.workflows.home import GPU, GREEN, Home, results

pytestmark = pytest.mark.dear


def test_the_first_push_trains_judges_and_commits_the_lock(started: tuple[Home, Run]) -> None:
    home, run = started
    assert results(run) == GREEN, run.log
    # only training went to the machine with the GPU, with the right to read and nothing else
    assert {name for name, job in run.jobs.items() if set(job.labels) == GPU} == {"train / train"}
    assert dict(run["train / train"].permissions) == {"contents": "read"}
    # the lock is on main
    assert home.repository.branch("main") == run["train / report"].outputs["commit"]
    assert "There is no champion yet" in run["train / report"].summary


def test_a_better_model_is_reported_locked_and_green(home: Home, better: Run) -> None:
    assert results(better) == GREEN, better.log
    lock = better["train / report"].outputs["commit"]
    assert home.repository.branch("better") == lock
    assert home.model(lock) != home.model(better.event.payload["pull_request"]["base"]["sha"])
    assert home.checks(lock) == [("verdict", "success")]
    # cml, fetched from its release, sent the one comment
    (comment,) = home.pull("better").comments
    for told in ("CML watermark", "`auc`", "train.epochs", "GPU minutes** on `self-hosted`, `gpu`"):
        assert told in comment.body


def test_the_same_push_again_changes_nothing_more(home: Home, better: Run) -> None:
    again = home.run(better.event)
    assert results(again) == GREEN, again.log
    lock = better["train / report"].outputs["commit"]
    assert home.repository.branch("better") == again["train / report"].outputs["commit"] == lock
    assert home.checks(lock) == [("verdict", "success")]
    assert len(home.pull("better").comments) == 1


def test_the_run_that_the_lock_parks_need_not_be_approved_and_may_be(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given no cml to be had, and a main that demands the verdict
    monkeypatch.delitem(home.github.repositories, "iterative/cml")
    monkeypatch.setitem(home.repository.protected, "main", ("verdict",))
    run = home.run(home.propose("parked", home.params(epochs=3, width=48)))
    assert results(run) == GREEN, run.log
    # then the lock's push parks a run, and the pull request has its verdict without it
    (parked,) = home.events()
    lock = run["train / report"].outputs["commit"]
    assert (parked.state, parked.head_sha) == ("waiting", lock)
    assert home.checks(lock) == [("verdict", "success")]
    # when somebody approves it all the same, then it finds nothing to train
    second = home.run(approve(parked))
    assert results(second) == GREEN | {"train / train": "skipped"}, second.log
    assert home.events() == []
    (comment,) = home.pull("parked").comments
    assert "CML" not in comment.body
    assert f"[run {second.id}]" in comment.body


def test_a_worse_model_is_red_with_its_reasons(home: Home) -> None:
    # given a network that learns nothing
    run = home.run(home.propose("worse", home.params(learning_rate=1e-7)))
    assert results(run) == GREEN | {"train / report": "failure", "verdict": "failure"}, run.log
    (comment,) = home.pull("worse").comments
    assert "⛔" in comment.body
    assert "floor: auc" in comment.body
    lock = run["train / report"].outputs["commit"]
    assert home.checks(lock) == [("verdict", "failure")]


@pytest.mark.alone
def test_a_readme_trains_nothing_and_reads_no_data(home: Home) -> None:
    # given a DVC remote that is not there
    away = home.remote.rename(home.remote.with_name("away"))
    try:
        run = home.run(home.propose("words", {"README.md": "# Words\n"}))
    finally:
        away.rename(home.remote)
    # then the run of main has checked the same sources
    assert results(run) == {"checks": "skipped", "plan": "success", "train": "skipped", "verdict": "success"}, run.log
    verbs = sum(step.seconds for job in run.jobs.values() for step in job.steps if "make" in step.name)
    print(f"\na push that changes nothing for the model: {verbs:.0f} s of verbs, {run.seconds:.0f} s in all")
    assert verbs < 60
    assert home.pull("words").comments == []


@pytest.mark.alone
def test_style_alone_is_told_quickly(home: Home) -> None:
    run = home.run(home.propose("untidy", {"src/ml/untidy.py": "import os\n"}))
    assert results(run)["verdict"] == "failure"
    assert "train / train" not in run.jobs or run["train / train"].result == "skipped"
    print(f"\na lint-only failure: told after {run['checks'].seconds:.0f} s")
    assert run["checks"].seconds < 60
