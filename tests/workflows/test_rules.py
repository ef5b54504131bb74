"""Where main is protected, and in the merge queue, nothing is ever trained."""

import pytest

from tests.github import Event, Run
from tests.github.events import on_branch
from tests.workflows.home import GREEN, Home, results

pytestmark = pytest.mark.dear
IDLE = {"checks": "success", "plan": "success", "train": "skipped", "verdict": "success"}


def queued(home: Home, head: str) -> Event:
    """What GitHub says when it asks whether this commit may become main."""
    base = home.repository.branch("main")
    ref = f"refs/heads/gh-readonly-queue/main/pr-1-{base}"
    home.repository.git("update-ref", ref, head)
    group = {"head_sha": head, "head_ref": ref, "base_sha": base, "base_ref": "refs/heads/main"}
    return on_branch(
        home.repository, home.alice.token, "merge_group", ref=ref, action="checks_requested", merge_group=group
    )


def test_the_queue_judges_a_model_whose_lock_came_with_it(home: Home, better: Run) -> None:
    assert better.conclusion == "success"
    home.events()
    run = home.run(queued(home, home.pull("better").merge_sha or ""))
    assert results(run) == GREEN | {"train / train": "skipped"}, run.log
    assert home.events() == []


def test_the_queue_is_red_where_the_lock_is_not_true(home: Home) -> None:
    home.alice.git("fetch", "-q", "origin")
    home.alice.git("switch", "-q", "--detach", "origin/main")
    head = home.alice.commit("Two changes that met", home.params(width=24))
    home.alice.push("met")
    home.events()
    run = home.run(queued(home, head))
    assert results(run) == IDLE | {"plan": "failure", "verdict": "failure"}
    assert "the merge queue trains nothing: bring the branch up to date" in run["plan"].log


def test_main_trains_nothing_where_it_is_protected(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.alice.git("fetch", "-q", "origin")
    home.alice.git("switch", "-q", "-C", "main", "origin/main")
    before = home.repository.branch("main") or ""
    monkeypatch.setitem(home.repository.protected, "main", ("verdict",))
    home.alice.commit("Past the rules", home.params(width=20))
    home.events()
    try:
        home.alice.push("main")
        event, *_ = home.events()
        run = home.run(event)
    finally:
        monkeypatch.undo()
        home.alice.git("reset", "-q", "--hard", before)
        home.alice.git("push", "-q", "--force", "origin", "HEAD:main")
        home.events()
    assert results(run) == IDLE | {"plan": "failure", "verdict": "failure"}
    assert "main is protected: open a pull request" in run["plan"].log
