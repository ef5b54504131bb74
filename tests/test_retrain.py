"""The retraining pull request and its manners, against the stand-in: what `make retrain` does on a schedule."""

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.bake import git
from tests.github import Clone, GitHub
from tests.github.fixtures import bot, require_tools

pytestmark = pytest.mark.dear
OUTCOMES = {
    "retrain": {"outcome": "retrain", "sentence": "A new model is called for: it moved.", "partitions": ["2013-07"]},
    "more": {"outcome": "retrain", "sentence": "A new model is called for.", "partitions": ["2013-07", "2013-08"]},
    "quiet": {"outcome": "quiet", "sentence": "Nothing is to be done."},
    "broken": {"outcome": "broken", "sentence": "The data is broken: distance."},
}


class Schedule:
    """A checkout in which the check has run, with the job's own token."""

    def __init__(self, github: GitHub, project: Path, folder: Path) -> None:
        self.github, self.repository = github, github.create("acme/flight-delays")
        self.repository.actions_may_open_pulls = True
        token = github.token("user", "alice", "acme/flight-delays", bypass=True)
        self.alice = Clone(github, self.repository, token, folder / "alice")
        for name in git(project, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
            if name != ".venv" and (project / name).is_file():
                (self.alice.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(project / name, self.alice.folder / name)
        shutil.rmtree(self.alice.folder / ".venv", ignore_errors=True)
        self.alice.commit("A project", {})
        self.alice.push("main")
        job = bot(github, self.repository, contents="write", pull_requests="write", issues="write")
        self.job = Clone(github, self.repository, job, folder / "job/flight-delays")
        self.data = project / "data"
        self.python = project / ".venv/bin/python"
        (folder / "event.json").write_text("{}")
        self.event = folder / "event.json"

    def check(self, outcome: str) -> dict[str, str]:
        """Run `retrain` after a check that came to this outcome; what the workflow is told to train."""
        self.job.git("fetch", "-q", "origin")
        self.job.git("checkout", "-q", "-f", "--detach", "origin/main")
        shutil.rmtree(self.job.folder / "data", ignore_errors=True)  # a checkout of its own each time
        shutil.copytree(self.data, self.job.folder / "data")
        reports, output = self.job.folder / "reports", self.event.with_name("output")
        (reports / "drift.json").write_text(json.dumps(OUTCOMES[outcome]))
        (reports / "drift.md").write_text(f"## {outcome}\n")
        output.write_text("")
        variables = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "schedule",
            "GITHUB_EVENT_PATH": str(self.event),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_REPOSITORY": self.repository.full_name,
            "GITHUB_REF_NAME": "main",
            "GITHUB_SHA": self.job.git("rev-parse", "HEAD"),
            "GH_TOKEN": self.job.token.value,
            "PYTHONPATH": "src",
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
        }
        words = [f"{name}={value}" for name, value in variables.items()]
        self.job.run("env", *words, str(self.python), "-m", "pipeline", "retrain")
        return dict(line.split("=", 1) for line in output.read_text().splitlines())

    def trained(self) -> None:
        """Commit a lock to the branch, as `make lock` does."""
        self.alice.git("fetch", "-q", "origin")
        self.alice.git("switch", "-q", "-C", "retrain/auto", "origin/retrain/auto")
        self.alice.commit("Lock what was trained", {"dvc.lock": "stages: {}\n"})
        self.alice.push("retrain/auto")

    def days_ago(self, days: int) -> str:
        """A moment as GitHub writes it."""
        return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def schedule(project: Path, tmp_path: Path) -> Iterator[Schedule]:
    require_tools()
    with GitHub(tmp_path / "github") as github:
        yield Schedule(github, project, tmp_path)
        github.assert_no_unknown()


def test_one_pull_request_is_opened_updated_and_closed(schedule: Schedule) -> None:
    # given nothing moved / then nothing is done
    assert schedule.check("quiet") == {}
    assert schedule.repository.pulls == []
    # when a new model is called for, then it arrives with the data and is to be trained
    first = schedule.check("retrain")
    (pull,) = schedule.repository.pulls
    assert first == {"commit": pull.head_sha, "branch": "retrain/auto", "pull-request": str(pull.number)}
    assert "2013-07" in str(schedule.repository.read(pull.head_sha, "data.dvc"))
    assert "## retrain" in pull.body
    # when the training came to nothing, then the next check has it done again; when it left a lock, then not
    assert schedule.check("retrain") == first
    schedule.trained()
    assert schedule.check("retrain") == {}
    # when there is more data, then the same pull request has it
    more = schedule.check("more")
    assert schedule.repository.pulls == [pull]
    assert (pull.title, more["commit"]) == ("Retrain with the data up to 2013-08", pull.head_sha)
    # when drift is gone, then it closes itself and says why
    assert schedule.check("quiet") == {}
    assert pull.state == "closed"
    assert "Drift is gone" in pull.comments[-1].body


def test_after_a_merge_or_a_close_there_is_a_cooldown_and_a_label_stops_it(schedule: Schedule) -> None:
    # given one that was merged / then there is silence, for a week
    schedule.check("retrain")
    (pull,) = schedule.repository.pulls
    schedule.alice.run("gh", "api", "--method", "PUT", f"repos/acme/flight-delays/pulls/{pull.number}/merge")
    assert pull.merged
    assert schedule.check("more") == {}
    pull.closed_at = schedule.days_ago(8)
    assert schedule.check("more")["pull-request"] == str(pull.number + 1)
    # given the label on the next one / then it is left as it is
    newest = schedule.repository.pulls[-1]
    newest.labels.append("no-retraining")
    body = newest.body
    assert schedule.check("retrain") == {}
    assert newest.body == body
    # given that it was closed / then there is silence too
    newest.labels.clear()
    newest.state, newest.closed_at = "closed", schedule.days_ago(1)
    assert schedule.check("more") == {}
    assert len(schedule.repository.pulls) == 2


def test_broken_data_is_one_issue(schedule: Schedule) -> None:
    assert schedule.check("broken") == schedule.check("broken") == {}
    (issue,) = schedule.repository.issues.values()
    assert (issue.title, issue.state, issue.labels) == ("The data is broken", "open", ["drift"])
    schedule.check("quiet")
    assert issue.state == "closed"
