"""Staging and promotion on GitHub: an older release changes nothing, and a closed promotion stays closed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bake import PRODUCT, ROOT, run
from tests.github import Clone, GitHub, Repository
from tests.github.fixtures import bot

pytestmark = pytest.mark.dear

Verb = Callable[..., str]
FACTS = {
    "repository": "ghcr.io/acme/flights",
    "lock": "lock",
    "data": "data",
    "partition": "2013-06",
    "verdict": "pass",
}


@pytest.fixture
def verb(alice: Clone, project: Path) -> Verb:
    """Return a function that takes a step of the release as alice, or as `by`, and returns what it prints."""

    def take(step: str, commit: str = "", digit: str = "", by: Clone = alice) -> str:
        event = alice.folder.parent / "event.json"
        event.write_text("{}")
        release = {**FACTS, "commit": commit, "digest": f"sha256:{digit * 64}"}
        environment = by.environment | {
            "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": alice.repository.full_name, "GITHUB_REF_NAME": "main",
            "GITHUB_EVENT_NAME": "workflow_dispatch", "GITHUB_EVENT_PATH": str(event), "GITHUB_SHA": "0" * 40,
            "PYTHONPATH": f"{ROOT / PRODUCT}/src:{ROOT / PRODUCT}/engine/src", "RELEASE": json.dumps(release),
        }  # fmt: skip
        command = [str(project / ".venv/bin/python"), "-m", "mergeworthy.cli", "release", step]
        result = run(command, by.folder, **environment)
        assert result.returncode == 0 or by is not alice, result.stderr
        return result.stdout + result.stderr

    return take


def test_an_older_release_and_a_closed_promotion_change_nothing(alice: Clone, flights: Repository, verb: Verb) -> None:
    # given two merges, of which the older one is released last
    older, newer = alice.commit("Older", {"model": "1"}), alice.commit("Newer", {"model": "2"})
    alice.push("main")
    assert "from now on" in verb("stage", newer, "2")
    assert "left as it is" in verb("stage", older, "1")
    # when staging is offered twice, then there is one pull request
    for message in ("is open", "is up to date"):
        assert message in verb("promote")
    (pull,) = flights.pulls
    assert f"sha256:{'2' * 64}" in pull.body
    assert newer in pull.body
    # when a person closes it, then it is not offered again
    alice.run("gh", "pr", "close", str(pull.number))
    branch = flights.branch("promote/production")
    assert "was closed: reopen it" in verb("promote")
    assert (flights.pulls, flights.branch("promote/production")) == ([pull], branch)
    # until something newer runs in staging
    alice.git("pull", "-q", "--rebase", "origin", "main")
    newest = alice.commit("Newest", {"model": "3"})
    alice.push("main")
    verb("stage", newest, "3")
    assert "is open" in verb("promote")
    assert [pull.state for pull in flights.pulls] == ["closed", "open"]


def test_one_promotion_is_open_across_a_change_of_workflows(
    github: GitHub, alice: Clone, flights: Repository, verb: Verb, tmp_path: Path
) -> None:
    # given a staged release and a job that may not open pull requests, then nothing is pushed and the setting is named
    verb("stage", alice.commit("Model", {"model": "1"}), "1")
    job = Clone(github, flights, bot(github, flights, contents="write", pull_requests="write"), tmp_path / "job")
    assert "so nothing was pushed: switch on Settings" in verb("promote", by=job)
    assert (flights.branch("promote/production"), flights.pulls) == (None, [])
    flights.actions_may_open_pulls = True
    assert "is open" in verb("promote", by=job)
    # when main has another workflow, so that a job's token may not move the branch past it
    alice.git("pull", "-q", "--rebase", "origin", "main")
    alice.commit("Another workflow", {".github/workflows/more.yaml": "on: push"})
    alice.push("main")
    assert "is open" in verb("promote", by=job)
    # then the next pull request continues the first, whose closing does not count as a refusal
    first, second = flights.pulls
    assert (first.state, second.state) == ("closed", "open")
    assert second.body.startswith(f"Continues #{first.number}.")
    assert "is up to date" in verb("promote", by=job)
    assert flights.pulls == [first, second]
