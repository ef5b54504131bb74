"""Workflows run against the stand-in as they would on GitHub."""

import json
from pathlib import Path

import pytest

from tests.github import HOSTED, Clone, GitHub, Machine, Repository, Run, Watch, WorkflowError, approve, run_event
from tests.github.fixtures import SAMPLE

GPU = frozenset({"self-hosted", "gpu"})


def only(runs: list[Run]) -> Run:
    """The one run that an event started."""
    (run,) = runs
    return run


@pytest.mark.usefixtures("alice")
def test_a_run_has_a_token_and_a_home_for_each_job(github: GitHub, flights: Repository) -> None:
    flights.variables["GPU_RUNNER"] = '["self-hosted", "gpu"]'
    flights.secrets["REMOTE"] = "a secret\nof two lines"
    (push,) = github.events()

    run = only(run_event(github, push, Machine(runners=[HOSTED, GPU])))

    assert {name: job.result for name, job in run.jobs.items()} == dict.fromkeys(
        ["plan", "train / train", "train / report", "verdict"], "success"
    )
    assert run["plan"].outputs == {"work": "epochs"}
    assert "training epochs" in run["train / train"].log
    assert "remote: 21 characters, HOME holds ''" in run["train / train"].log
    assert "refused" in run["train / train"].log
    assert flights.issues == {}
    assert set(run["train / train"].labels) == GPU
    assert run["train / train"].step("cleaned").result == "success"
    lock = run["train / report"].outputs["commit"]
    assert flights.branch("main") == lock
    assert json.loads(run["verdict"].summary)["train"] == {"outputs": {"commit": lock}, "result": "success"}
    assert github.events() == []
    assert {check.name for check in flights.checks if check.head_sha == push.sha} == set(run.jobs)
    run.assert_no_secret_in_logs()
    github.assert_no_unknown()


def test_a_failure_reaches_the_job_that_always_runs(github: GitHub, alice: Clone) -> None:
    github.events()
    alice.open_pull("worse", {"work.sh": "exit 3"})
    *_, pull = github.events()

    run = only(run_event(github, pull))

    assert {name: job.result for name, job in run.jobs.items()} == {
        "plan": "success", "train / train": "failure", "train / report": "skipped", "verdict": "failure",
    }  # fmt: skip
    assert run.conclusion == "failure"


def test_a_job_whose_caller_is_skipped_is_one_skipped_job(github: GitHub, alice: Clone) -> None:
    github.events()
    alice.open_pull("readme", {"work": "nothing"})
    *_, pull = github.events()

    run = only(run_event(github, pull))

    assert {name: job.result for name, job in run.jobs.items()} == {
        "plan": "success", "train": "skipped", "verdict": "success",
    }  # fmt: skip


@pytest.mark.parametrize(("ending", "result"), [("kill", "failure"), ("cancel", "cancelled")])
def test_a_job_can_be_ended_and_run_again(github: GitHub, alice: Clone, ending: str, result: str) -> None:
    github.events()
    alice.open_pull("slow", {"work.sh": 'echo started; [ "$GITHUB_RUN_ATTEMPT" = 2 ] || (sleep 300 & wait)'})
    *_, pull = github.events()

    watch = Watch("train / train", "started", lambda job: getattr(job, ending)())
    run = only(run_event(github, pull, watch=[watch]))
    again = only(run_event(github, pull, previous=run))

    assert run["train / train"].result == result
    assert json.loads(run["verdict"].summary)["train"]["result"] == result
    assert ("cleaned up" in run["train / train"].log) == (ending == "cancel")
    assert again["plan"] is run["plan"]
    assert again.conclusion == "success"


def test_a_fork_gets_no_secret_no_variable_and_no_right_to_write(
    github: GitHub, flights: Repository, alice: Clone, tmp_path: Path
) -> None:
    flights.variables["GPU_RUNNER"] = '["self-hosted", "gpu"]'
    flights.secrets["REMOTE"] = "a secret"
    fork = github.create("mallory/flights", parent=flights.full_name)
    mallory = Clone(github, fork, github.token("user", "mallory", fork.full_name), tmp_path / "mallory")
    mallory.git("switch", "-q", "-c", "gift")
    mallory.commit("A gift", {"work": "mine"})
    mallory.push("gift")
    github.events()
    body = json.dumps({"title": "A gift", "head": "mallory:gift", "base": "main"})
    (mallory.folder.parent / "pull.json").write_text(body)
    mallory.run("gh", "api", "repos/acme/flights/pulls", "--input", "../pull.json")
    (pull,) = github.events()

    run = only(run_event(github, approve(pull), Machine(runners=[HOSTED, GPU])))

    assert pull.fork
    assert run["train / train"].labels == ("ubuntu-24.04",)
    assert "remote: 0 characters" in run["train / train"].log
    assert run["train / report"].result == "failure"
    assert set(run["train / report"].permissions.values()) == {"read"}
    assert flights.refs() == {"refs/heads/main": alice.git("rev-parse", "HEAD")}


def test_a_run_that_github_would_not_start_is_refused(github: GitHub, flights: Repository, alice: Clone) -> None:
    github.events()
    alice.open_pull(
        "greedy", {".github/workflows/train.yaml": SAMPLE["train.yaml"].replace("issues: write", "checks: write")}
    )
    *_, greedy = github.events()
    alice.open_pull("lonely", {"work": "lonely"})
    *_, lonely = github.events()
    flights.variables["GPU_RUNNER"] = '["self-hosted", "gpu"]'

    with pytest.raises(WorkflowError, match="'train / report' is requesting 'checks: write', but is only allowed"):
        run_event(github, greedy)
    with pytest.raises(WorkflowError, match="no runner has the labels"):
        run_event(github, lonely)
