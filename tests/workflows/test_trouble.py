"""What goes wrong in life: broken data, forks, branches that move, killed jobs."""

import json
from pathlib import Path

import pytest

from tests.github import Clone, Watch, approve
from tests.workflows.home import GPU, GREEN, Home, results

pytestmark = pytest.mark.dear


def test_broken_data_is_refused_in_one_line(home: Home) -> None:
    schema = home.alice.git("show", "origin/main:src/ml/schema.py")
    stricter = schema.replace('"distance": number(pl.Int16, 1, 6000', '"distance": number(pl.Int16, 1, 100')
    assert stricter != schema
    run = home.run(home.propose("strict", {"src/ml/schema.py": f"{stricter}\n"}))
    red = {"train / train": "failure", "train / report": "skipped", "verdict": "failure"}
    assert results(run) == GREEN | red, run.log
    # the reason is one line of the log, and stands where the report would
    assert [line for line in run["train / train"].log.splitlines() if "2013-01" in line and "distance" in line]
    (comment,) = home.pull("strict").comments
    assert "No model was judged" in comment.body
    assert [line for line in comment.body.splitlines() if "2013-01" in line and "distance" in line]
    assert home.repository.branch("strict") == run.event.head_sha


def test_a_fork_gets_neither_a_machine_of_ours_nor_a_secret(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a repository whose jobs all run on machines of its own, and whose settings hand forks its variables too
    monkeypatch.setitem(home.repository.variables, "CPU_RUNNER", home.repository.variables["GPU_RUNNER"])
    monkeypatch.setattr(home.repository, "forks_get_secrets_and_variables", True)
    fork = home.github.create("mallory/flight-delays", parent=home.repository.full_name)
    token = home.github.token("user", "mallory", fork.full_name)
    mallory = Clone(home.github, fork, token, tmp_path / "mallory/flight-delays")
    mallory.git("switch", "-q", "-c", "gift")
    mallory.commit("A gift", home.params(epochs=3))
    mallory.push("gift")
    home.events()
    body = {"title": "A gift", "head": "mallory:gift", "base": "main"}
    (tmp_path / "pull.json").write_text(json.dumps(body))
    mallory.run("gh", "api", f"repos/{home.repository.full_name}/pulls", "--input", str(tmp_path / "pull.json"))
    *_, event = home.events()
    run = home.run(approve(event))
    assert not any(set(job.labels) & GPU for job in run.jobs.values())
    assert results(run)["plan"] == "failure"
    assert results(run)["verdict"] == "failure"
    assert "a maintainer has to push this branch" in run["plan"].log


def test_a_branch_that_moves_meanwhile_is_left_alone(home: Home) -> None:
    def move(_: object) -> None:
        home.alice.commit("More words", {"README.md": "# More\n"})
        home.alice.push("moving")

    event = home.propose("moving", home.params(epochs=3, width=40))
    run = home.run(event, Watch("train / train", "epoch 1", move))
    assert results(run) == GREEN, run.log
    assert run["train / report"].outputs.get("commit", "") == ""
    assert home.repository.branch("moving") == home.alice.git("rev-parse", "HEAD")

    # then its own run finds the training in the cache
    *_, event = home.events()
    run = home.run(event)
    assert results(run) == GREEN, run.log
    assert "epoch 1" not in run["train / train"].log
    assert home.model(run["train / report"].outputs["commit"])


def test_a_killed_training_leaves_nothing_and_can_be_run_again(home: Home) -> None:
    event = home.propose("killed", home.params(epochs=4, width=40))
    run = home.run(event, Watch("train / train", "epoch 2", lambda job: job.kill()))
    assert results(run) == GREEN | {"train / train": "failure", "train / report": "skipped", "verdict": "failure"}
    assert home.repository.branch("killed") == event.head_sha
    again = home.run(event, previous=run)
    assert results(again) == GREEN, again.log
    assert home.repository.branch("killed") == again["train / report"].outputs["commit"]
