"""The release's verbs against GitHub: an older release takes nothing back, and what a person refused stays refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bake import PRODUCT, ROOT, run
from tests.github import Clone, Repository

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
    """Take a step of the release, in a job that may do what alice may; what it prints."""

    def take(step: str, commit: str = "", digit: str = "") -> str:
        event = alice.folder.parent / "event.json"
        event.write_text("{}")
        release = {**FACTS, "commit": commit, "digest": f"sha256:{digit * 64}"}
        environment = alice.environment | {
            "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": alice.repository.full_name, "GITHUB_REF_NAME": "main",
            "GITHUB_EVENT_NAME": "workflow_dispatch", "GITHUB_EVENT_PATH": str(event), "GITHUB_SHA": "0" * 40,
            "PYTHONPATH": str(ROOT / PRODUCT / "src"), "RELEASE": json.dumps(release),
        }  # fmt: skip
        command = [str(project / ".venv/bin/python"), "-m", "pipeline", "release", step]
        done = run(command, alice.folder, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return take


def test_what_is_older_or_refused_stays_so(alice: Clone, flights: Repository, verb: Verb) -> None:
    # given two merges, of which the older one's release comes last
    older, newer = alice.commit("Older", {"model": "1"}), alice.commit("Newer", {"model": "2"})
    alice.push("main")
    assert "from now on" in verb("stage", newer, "2")
    assert "left as it is" in verb("stage", older, "1")
    # when staging is offered twice, then there is one pull request
    for told in ("is open", "is up to date"):
        assert told in verb("promote")
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
    assert [one.state for one in flights.pulls] == ["closed", "open"]
