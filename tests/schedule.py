"""A repository in the stand-in of GitHub, and the job of its schedule: what `make retrain` does there."""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bake import git
from tests.github import Clone, GitHub
from tests.github.events import repository_json
from tests.github.fixtures import bot
from tests.github.tokens import Level

OUTCOMES = {
    "retrain": {"outcome": "retrain", "sentence": "A new model is called for: it moved.", "partitions": ["2013-07"]},
    "more": {"outcome": "retrain", "sentence": "A new model is called for.", "partitions": ["2013-07", "2013-08"]},
    "quiet": {"outcome": "quiet", "sentence": "Nothing is to be done."},
    "broken": {"outcome": "broken", "sentence": "The data is broken: distance."},
}


class Schedule:
    """A checkout in which the check has run, with the job's own token."""

    def __init__(self, github: GitHub, project: Path, folder: Path, base: str = "main") -> None:
        self.github, self.repository, self.base = github, github.create("acme/flight-delays"), base
        self.repository.default_branch = base
        self.repository.actions_may_open_pulls = True
        token = github.token("user", "alice", "acme/flight-delays", bypass=True)
        self.alice = Clone(github, self.repository, token, folder / "alice")
        for name in git(project, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
            if name != ".venv" and (project / name).is_file():
                (self.alice.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(project / name, self.alice.folder / name)
        shutil.rmtree(self.alice.folder / ".venv", ignore_errors=True)
        self.alice.commit("A project", {})
        self.alice.push(base)
        self.data, self.python = project / "data", project / ".venv/bin/python"
        self.folder = folder
        (folder / "event.json").write_text(json.dumps({"repository": repository_json(self.repository)}))
        self.job = self.runner("job")

    def runner(self, name: str) -> Clone:
        """A checkout with a job's own token."""
        grants: dict[str, Level] = {
            "contents": "write",
            "pull_requests": "write",
            "issues": "write",
            "actions": "read",
            "checks": "read",
        }
        token = bot(self.github, self.repository, **grants)
        return Clone(self.github, self.repository, token, self.folder / name / "flight-delays")

    def check(self, outcome: str) -> dict[str, str]:
        """Run `retrain` after a check that came to this outcome; what the workflow is told to train."""
        done = self.attempt(outcome, self.job)
        assert done.returncode == 0, done.stderr
        output = self.job.folder.with_name("output")
        return dict(line.split("=", 1) for line in output.read_text().splitlines())

    def attempt(self, outcome: str, job: Clone) -> "subprocess.CompletedProcess[str]":
        """The same in a checkout of main, to whatever end."""
        job.git("fetch", "-q", "origin")
        job.git("checkout", "-q", "-f", "--detach", f"origin/{self.base}")
        shutil.rmtree(job.folder / "data", ignore_errors=True)  # a checkout of its own each time
        shutil.copytree(self.data, job.folder / "data")
        (job.folder / "reports/drift.json").write_text(json.dumps(OUTCOMES[outcome]))
        (job.folder / "reports/drift.md").write_text(f"## {outcome}\n")
        return self.verb("retrain", job)

    def verb(self, name: str, job: Clone, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a verb as a job of the schedule does."""
        output = job.folder.with_name("output")
        output.write_text("")
        variables = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "schedule",
            "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_REPOSITORY": self.repository.full_name,
            "GITHUB_REF_NAME": self.base,
            "GITHUB_SHA": job.git("rev-parse", "HEAD"),
            "GH_TOKEN": job.token.value,
            "PYTHONPATH": "src:engine/src",
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
            **more,
        }
        words = [f"{name}={value}" for name, value in variables.items()]
        return job.attempt("env", *words, str(self.python), "-m", "mergeworthy.cli", name)

    def trained(self) -> None:
        """Commit a lock to the branch, as `make lock` does."""
        self.alice.git("fetch", "-q", "origin")
        self.alice.git("switch", "-q", "-C", "retrain/auto", "origin/retrain/auto")
        self.alice.commit("Lock what was trained", {"dvc.lock": "stages: {}\n"})
        self.alice.push("retrain/auto")

    def days_ago(self, days: int) -> str:
        """A moment as GitHub writes it."""
        return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
