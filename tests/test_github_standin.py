"""The stand-in of GitHub itself: what a push is refused for, and what it starts."""

from pathlib import Path

import pytest

from tests.github import Clone, GitHub, Repository, run_event
from tests.github.fixtures import bot


def test_a_push_needs_the_right_to_write(github: GitHub, flights: Repository, alice: Clone, tmp_path: Path) -> None:
    reader = Clone(github, flights, bot(github, flights, contents="read"), tmp_path / "reader")
    reader.commit("Mine", {"mine": ""})

    refused = reader.attempt("git", "push", "origin", "HEAD:mine")

    assert "403" in refused.stderr
    assert flights.branch("mine") is None
    assert Clone(github, flights, bot(github, flights, contents="write"), tmp_path / "writer").attempt(
        "git", "push", "origin", "HEAD:mine"
    ).returncode == 0  # fmt: skip
    assert flights.branch("mine") == alice.git("rev-parse", "HEAD")


def test_a_protected_branch_takes_pushes_from_those_who_may_bypass_it(
    github: GitHub, flights: Repository, alice: Clone, tmp_path: Path
) -> None:
    flights.protected["main"] = ("verdict",)
    writer = Clone(github, flights, bot(github, flights, contents="write"), tmp_path / "writer")
    writer.commit("Straight to main", {"x": ""})

    refused = writer.attempt("git", "push", "origin", "HEAD:main")
    alice.commit("By the owner", {"y": ""})
    alice.push("main")

    assert "GH006: Protected branch update failed for refs/heads/main." in refused.stderr
    assert flights.branch("main") == alice.git("rev-parse", "HEAD")


def test_a_branch_that_moved_on_is_not_overwritten(
    github: GitHub, flights: Repository, alice: Clone, tmp_path: Path
) -> None:
    late = Clone(github, flights, bot(github, flights, contents="write"), tmp_path / "late")
    late.commit("Late", {"late": ""})
    alice.commit("First", {"first": ""})
    alice.push("main")

    assert "fetch first" in late.attempt("git", "push", "origin", "HEAD:main").stderr


@pytest.mark.usefixtures("alice")
def test_a_job_may_not_push_workflow_files(github: GitHub, flights: Repository, tmp_path: Path) -> None:
    job = Clone(github, flights, bot(github, flights, contents="write"), tmp_path / "job")
    job.commit("Let me do more", {".github/workflows/ci.yaml": "permissions: write-all"})

    assert "without `workflows` permission" in job.attempt("git", "push", "origin", "HEAD:more").stderr


def test_a_job_may_not_move_a_branch_across_a_change_of_workflows_that_others_made(
    github: GitHub, flights: Repository, alice: Clone, tmp_path: Path
) -> None:
    # given a job's branch, with a pull request, and a newer main with another workflow
    pull = alice.open_pull("auto", {"work": "more"})
    alice.git("switch", "-q", "main")
    alice.commit("Another workflow", {".github/workflows/more.yaml": "on: push"})
    alice.push("main")
    job = Clone(github, flights, bot(github, flights, contents="write"), tmp_path / "job")
    job.commit("Anew", {"work": "most"})
    # then it cannot be moved onto that main, but it can be made anew, which closes the pull request
    refused = job.attempt("git", "push", "--force", "origin", "HEAD:auto")
    assert "`.github/workflows/more.yaml` without `workflows` permission" in refused.stderr
    job.git("push", "-q", "origin", ":auto")
    job.git("push", "-q", "origin", "HEAD:auto")
    assert pull.state == "closed"


def test_what_people_push_starts_runs_and_what_jobs_push_does_not(
    github: GitHub, flights: Repository, alice: Clone, tmp_path: Path
) -> None:
    pull = alice.open_pull("better", {"work": "more epochs"})
    assert [(event.name, event.ref) for event in github.events()] == [
        ("push", "refs/heads/main"), ("push", "refs/heads/better"), ("pull_request", "refs/pull/1/merge"),
    ]  # fmt: skip
    job = Clone(github, flights, bot(github, flights, contents="write"), tmp_path / "job")
    job.git("switch", "-q", "better")
    job.commit("Lock", {"dvc.lock": "1"})

    job.push("better")

    (waiting,) = github.events()
    assert (waiting.state, waiting.payload["action"], waiting.head_sha) == ("waiting", "synchronize", pull.head_sha)
    assert [event.name for event in github.suppressed] == ["push"]
    with pytest.raises(ValueError, match="waiting"):
        run_event(github, waiting)
    app = Clone(github, flights, github.token("app", "bot[bot]", flights.full_name), tmp_path / "app")
    app.git("switch", "-q", "better")
    app.commit("Lock", {"dvc.lock": "2"})
    app.push("better")
    assert [event.state for event in github.events()] == ["queued", "queued"]


def test_the_merge_ref_follows_both_sides(github: GitHub, flights: Repository, alice: Clone) -> None:
    pull = alice.open_pull("better", {"work": "more epochs"})
    alice.git("switch", "-q", "main")
    alice.commit("Meanwhile", {"elsewhere": ""})
    alice.push("main")

    merged = flights.git("rev-parse", "refs/pull/1/merge")

    assert flights.git("log", "-1", "--format=%P", merged).split() == [flights.branch("main"), pull.head_sha]
    alice.commit("In the way", {"work": "none"})
    alice.push("main")
    assert pull.merge_sha is None
    assert alice.attempt("git", "fetch", "origin", "refs/pull/1/merge").returncode != 0
    github.assert_no_unknown()
