"""A push becomes a verdict: ci.yaml and train.yaml of the generated project, whole, on real flights."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.github import Clone, GitHub, Run, Watch, approve
from tests.github.fixtures import require_tools
from tests.workflows.home import GPU, Home, settle, with_cml

pytestmark = pytest.mark.dear


def results(run: Run) -> dict[str, str]:
    """Each job's result."""
    return {name: job.result for name, job in run.jobs.items()}


GREEN = dict.fromkeys(["checks", "plan", "train / train", "train / report", "verdict"], "success")


@pytest.fixture(scope="module")
def started(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Run]]:
    """A project whose first push went straight to main, and the run that came of it."""
    require_tools()
    folder = tmp_path_factory.mktemp("workflows")
    with GitHub(folder / "github") as github:
        home = settle(github, project, folder)
        home.alice.push("main")
        (event,) = home.events()
        yield home, home.run(event)


@pytest.fixture
def home(started: tuple[Home, Run]) -> Iterator[Home]:
    """The project after its first push; nothing unknown may be asked of GitHub."""
    yield started[0]
    started[0].github.assert_no_unknown()


def test_the_first_push_trains_judges_and_commits_the_lock(started: tuple[Home, Run]) -> None:
    home, run = started
    assert results(run) == GREEN, run.log
    # only training went to the machine with the GPU, with the right to read and nothing else
    assert {name for name, job in run.jobs.items() if set(job.labels) == GPU} == {"train / train"}
    assert dict(run["train / train"].permissions) == {"contents": "read"}
    # the lock is on main, and carries the verdict that no run of its own could
    lock = run["train / report"].outputs["commit"]
    assert home.repository.branch("main") == lock
    assert [check.conclusion for check in home.repository.checks if check.head_sha == lock] == ["success"]
    assert "There is no champion yet" in run["train / report"].summary
    assert home.events() == []


def test_a_better_model_is_reported_locked_and_green(home: Home) -> None:
    before = home.repository.branch("main")
    event = home.propose("better", home.params(epochs=2))
    run = home.run(event)
    assert results(run) == GREEN, run.log
    pull = home.repository.pulls[-1]
    lock = run["train / report"].outputs["commit"]
    assert home.repository.branch("better") == lock
    assert home.model(lock) != home.model(before or "")
    (comment,) = pull.comments
    assert "| auc |" in comment.body
    assert "train.epochs" in comment.body

    # when the same push is run again, nothing changes any more
    again = home.run(event)
    assert results(again) == GREEN, again.log
    assert home.repository.branch("better") == lock
    assert len(pull.comments) == 1
    assert len([check for check in home.repository.checks if check.head_sha == lock]) == 1


def test_a_lock_pushed_by_an_app_is_judged_by_a_run_of_its_own(home: Home) -> None:
    # given an App's credentials
    home.repository.variables["APP_CLIENT_ID"] = "Iv1.app"
    home.repository.secrets["APP_PRIVATE_KEY"] = "-----the key-----"
    token = home.github.token("app", "flights-app[bot]", home.repository.full_name, permissions={"contents": "write"})
    try:
        run = home.run(home.propose("by-app", home.params(epochs=2, width=28)), APP_TOKEN=token.value)
        assert results(run) == GREEN, run.log
        # then its push starts a second run, which finds nothing to train
        (event,) = home.events()
        second = home.run(event, APP_TOKEN=token.value)
    finally:
        del home.repository.variables["APP_CLIENT_ID"], home.repository.secrets["APP_PRIVATE_KEY"]
    assert results(second) == GREEN | {"train / train": "skipped"}, second.log
    assert home.events() == []
    assert len(home.repository.pulls[-1].comments) == 1


def test_a_worse_model_is_red_with_its_reasons(home: Home, tmp_path: Path) -> None:
    # given cml on the runner, and a network that learns nothing
    path = with_cml(tmp_path / "bin")
    run = home.run(home.propose("worse", home.params(learning_rate=1e-7)), PATH=path)
    assert results(run) == GREEN | {"train / report": "failure", "verdict": "failure"}, run.log
    (comment,) = home.repository.pulls[-1].comments
    assert "⛔" in comment.body
    assert "floor: auc" in comment.body
    assert "CML watermark" in comment.body
    lock = run["train / report"].outputs["commit"]
    assert [check.conclusion for check in home.repository.checks if check.head_sha == lock] == ["failure"]


def test_a_readme_trains_nothing_and_reads_no_data(home: Home) -> None:
    # given a DVC remote that is not there
    away = home.remote.rename(home.remote.with_name("away"))
    try:
        run = home.run(home.propose("words", {"README.md": "# Words\n"}))
    finally:
        away.rename(home.remote)
    assert results(run) == {"checks": "success", "plan": "success", "train": "skipped", "verdict": "success"}, run.log
    verbs = sum(step.seconds for job in run.jobs.values() for step in job.steps if "make" in step.name)
    print(f"\na push that changes nothing for the model: {verbs:.0f} s of verbs, {run.seconds:.0f} s in all")
    assert verbs < 60
    assert home.repository.pulls[-1].comments == []


def test_style_alone_is_told_quickly(home: Home) -> None:
    run = home.run(home.propose("untidy", {"src/pipeline/untidy.py": "import os\n"}))
    assert results(run)["verdict"] == "failure"
    assert "train / train" not in run.jobs or run["train / train"].result == "skipped"
    print(f"\na lint-only failure: told after {run['checks'].seconds:.0f} s")
    assert run["checks"].seconds < 60


def test_broken_data_is_refused_in_one_line(home: Home) -> None:
    schema = home.alice.git("show", "origin/main:src/pipeline/ml/schema.py")
    stricter = schema.replace('"distance": number(pl.Int16, 1, 6000', '"distance": number(pl.Int16, 1, 100')
    assert stricter != schema
    run = home.run(home.propose("strict", {"src/pipeline/ml/schema.py": stricter}))
    assert run["train / train"].result == "failure"
    assert run["verdict"].result == "failure"
    assert [line for line in run["train / train"].log.splitlines() if "2013-01" in line and "distance" in line]
    assert home.repository.branch("strict") == run.event.head_sha


def test_a_fork_gets_neither_gpu_nor_secret(home: Home, tmp_path: Path) -> None:
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
    (event,) = home.events()
    run = home.run(approve(event))
    assert not any(set(job.labels) & GPU for job in run.jobs.values())
    assert results(run)["plan"] == "failure"
    assert results(run)["verdict"] == "failure"
    assert "a maintainer has to push this branch" in run["plan"].log


def test_a_branch_that_moves_meanwhile_is_left_alone(home: Home) -> None:
    def move(_: object) -> None:
        home.alice.commit("More words", {"README.md": "# More\n"})
        home.alice.push("moving")

    event = home.propose("moving", home.params(epochs=2, width=24))
    run = home.run(event, Watch("train / train", "epoch 1", move))
    assert results(run) == GREEN, run.log
    assert run["train / report"].outputs.get("commit", "") == ""
    moved = home.repository.branch("moving")
    assert moved == home.alice.git("rev-parse", "HEAD")

    # then its own run finds the training in the cache
    (event,) = home.events()
    run = home.run(event)
    assert results(run) == GREEN, run.log
    assert "epoch 1" not in run["train / train"].log
    assert home.model(run["train / report"].outputs["commit"])


def test_a_killed_training_leaves_nothing_and_can_be_run_again(home: Home) -> None:
    event = home.propose("killed", home.params(epochs=3, width=40))
    run = home.run(event, Watch("train / train", "epoch 2", lambda job: job.kill()))
    assert results(run) == GREEN | {"train / train": "failure", "train / report": "skipped", "verdict": "failure"}
    assert home.repository.branch("killed") == event.head_sha
    again = home.run(event, previous=run)
    assert results(again) == GREEN, again.log
    assert home.repository.branch("killed") == again["train / report"].outputs["commit"]


def test_main_trains_nothing_where_it_is_protected(home: Home) -> None:
    home.alice.git("fetch", "-q", "origin")
    home.alice.git("switch", "-q", "-C", "main", "origin/main")
    before = home.repository.branch("main") or ""
    home.repository.protected["main"] = ("verdict",)
    try:
        home.alice.commit("Past the rules", home.params(epochs=2, width=20))
        home.alice.push("main")
        (event,) = home.events()
        run = home.run(event)
    finally:
        del home.repository.protected["main"]
        home.alice.git("reset", "-q", "--hard", before)
        home.alice.git("push", "-q", "--force", "origin", "HEAD:main")
        home.events()
    assert results(run)["plan"] == "failure"
    assert "main is protected: open a pull request" in run["plan"].log
    assert run["verdict"].result == "failure"
