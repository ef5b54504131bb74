"""The stand-in's API as gh uses it: pages, limits, permissions, and a record of what it lacks."""

import json
from pathlib import Path

import pytest

from tests.github import Clone, GitHub, Repository
from tests.github.fixtures import bot


def test_comments_come_in_pages_and_can_be_found_and_edited(github: GitHub, alice: Clone) -> None:
    pull = alice.open_pull("better", {"work": "more"})
    path = f"repos/acme/flights/issues/{pull.number}/comments"
    for number in range(104):
        if number in (0, 40, 103):
            alice.run("gh", "pr", "comment", str(pull.number), "--body", f"comment {number}")
        else:
            pull.comments.append(type(pull.comments[0])(github.next_id(), "bob", f"comment {number}"))

    first_page = json.loads(alice.run("gh", "api", path))
    found = alice.run(
        "gh", "api", "--paginate", f"{path}?per_page=100", "--jq", '.[] | select(.body == "comment 103") | .id'
    )
    alice.run("gh", "api", "--method", "PATCH", f"repos/acme/flights/issues/comments/{found}", "-f", "body=edited")

    assert len(first_page) == 30
    assert [comment.body for comment in pull.comments].count("edited") == 1
    assert pull.comments[-1].body == "edited"
    github.assert_no_unknown()


def test_a_comment_holds_65536_characters(github: GitHub, alice: Clone) -> None:
    pull = alice.open_pull("better", {"work": "more"})
    path = f"repos/acme/flights/issues/{pull.number}/comments"
    for size in (65_536, 65_537):
        (alice.folder.parent / f"{size}.json").write_text(json.dumps({"body": "ü" * size}))

    alice.run("gh", "api", "--method", "POST", path, "--input", "../65536.json")
    refused = alice.attempt("gh", "api", "--method", "POST", path, "--input", "../65537.json")

    assert "422" in refused.stderr
    assert len(pull.comments) == 1
    github.assert_no_unknown()


def test_a_check_is_made_by_apps_with_the_right_to(
    github: GitHub, flights: Repository, alice: Clone, tmp_path: Path
) -> None:
    commit = str(flights.branch("main"))
    check = ("gh", "api", "repos/acme/flights/check-runs", "-f", "name=verdict", "-f", f"head_sha={commit}",
             "-f", "conclusion=success")  # fmt: skip
    able = Clone(github, flights, bot(github, flights, contents="read", checks="write"), tmp_path / "able")
    unable = Clone(github, flights, bot(github, flights, contents="read"), tmp_path / "unable")

    able.run(*check)

    assert "Resource not accessible by integration" in unable.attempt(*check).stderr
    assert "You must authenticate via a GitHub App" in alice.attempt(*check).stderr
    assert [(one.name, one.conclusion) for one in flights.checks] == [("verdict", "success")]
    listed = json.loads(able.run("gh", "api", f"repos/acme/flights/commits/{commit}/check-runs?check_name=verdict"))
    assert listed["total_count"] == 1
    assert listed["check_runs"][0]["app"] == {"id": 15368, "slug": "github-actions"}


def test_a_check_belongs_to_the_app_that_made_it(
    github: GitHub, flights: Repository, alice: Clone, tmp_path: Path
) -> None:
    # given a check `verdict` of another App than GitHub's own
    commit, path = str(flights.branch("main")), "repos/acme/flights/check-runs"
    alice.token = github.token("app", "helper[bot]", flights.full_name)
    made = json.loads(alice.run("gh", "api", path, "-f", "name=verdict", "-f", f"head_sha={commit}",
                                "-f", "conclusion=success"))  # fmt: skip
    assert made["app"]["slug"] == "helper"
    # then no job can change it
    job = Clone(github, flights, bot(github, flights, checks="write"), tmp_path / "job")
    change = ("gh", "api", "--method", "PATCH", f"{path}/{made['id']}", "-f", "conclusion=failure")
    assert "can only be modified by the GitHub App that created it" in job.attempt(*change).stderr
    alice.run(*change)
    assert [one.conclusion for one in flights.checks] == ["failure"]


def test_a_pull_request_waits_for_its_required_check(github: GitHub, flights: Repository, alice: Clone) -> None:
    flights.protected["main"] = ("verdict",)
    pull = alice.open_pull("better", {"work": "more"})
    bob = github.token("user", "bob", flights.full_name)
    merge = ("gh", "api", "--method", "PUT", f"repos/acme/flights/pulls/{pull.number}/merge")
    github.events()
    alice.token = bob

    too_early = alice.attempt(*merge)
    app = github.token("app", "bot[bot]", flights.full_name)
    alice.token = app
    alice.run("gh", "api", "repos/acme/flights/check-runs", "-f", "name=verdict", "-f", f"head_sha={pull.head_sha}",
              "-f", "conclusion=success")  # fmt: skip
    alice.token = bob
    alice.run(*merge)

    assert 'Required status check "verdict" is expected.' in too_early.stderr + too_early.stdout
    assert pull.merged
    (push,) = github.events()
    assert (push.name, push.ref, push.sha) == ("push", "refs/heads/main", flights.branch("main"))


def test_jobs_open_pull_requests_only_where_the_setting_allows_it(
    github: GitHub, flights: Repository, alice: Clone, tmp_path: Path
) -> None:
    alice.git("switch", "-q", "-c", "retrain/auto")
    alice.commit("Retrain", {"work": "again"})
    alice.push("retrain/auto")
    token = bot(github, flights, contents="write", pull_requests="write")
    job = Clone(github, flights, token, tmp_path / "job")
    create = ("gh", "pr", "create", "--title", "Retrain", "--body", "", "--base", "main", "--head", "retrain/auto")

    assert "not permitted to create or approve pull requests" in job.attempt(*create).stderr
    flights.actions_may_open_pulls = True
    assert job.run(*create).endswith("/acme/flights/pull/1")
    assert json.loads(job.run("gh", "pr", "list", "--json", "number,headRefName")) == [
        {"number": 1, "headRefName": "retrain/auto"}
    ]


def test_what_the_stand_in_lacks_fails_the_test(github: GitHub, alice: Clone) -> None:
    alice.attempt("gh", "api", "repos/acme/flights/pages")

    with pytest.raises(AssertionError, match="repos/acme/flights/pages"):
        github.assert_no_unknown()


def test_every_other_host_that_is_contacted_is_on_record(github: GitHub, alice: Clone) -> None:
    alice.attempt("git", "ls-remote", "https://asset.invalid/x")

    assert github.contacted == {"asset.invalid"}
