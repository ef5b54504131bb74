"""`make doctor` in a checkout whose GitHub is the stand-in."""

from pathlib import Path

import pytest

from tests.github import Environment, Organization
from tests.workflows.home import GPU, Home

pytestmark = pytest.mark.dear


def test_the_doctor_reads_what_github_tells(home: Home, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given an organisation whose runner carries the labels
    labels = [{"name": name} for name in GPU]
    shared = Organization({"CPU_RUNNER": '["ubuntu-24.04"]'}, [{"name": "gpu-1", "status": "online", "labels": labels}])
    monkeypatch.setattr(home.repository, "organization", shared)
    closed = Environment(branches=("main",))
    monkeypatch.setitem(home.repository.environments, "release", closed)
    python = str(project / ".venv/bin/python")
    done = home.alice.attempt("env", "PYTHONPATH=src:engine/src", python, "-m", "mergeworthy.cli", "doctor")
    lines = done.stdout.splitlines()
    for topic in ("repository: acme/flight-delays on github.com", "GPU_RUNNER", "CPU_RUNNER", "runner: ", "token: "):
        assert [line for line in lines if line.startswith(f"✓ {topic}")], done.stdout + done.stderr
    assert "✓ environment release: as .github/settings.yaml says" in lines
    for warned in (
        "actions: can_approve_pull_request_reviews is false, not true",
        "ruleset: ",
        "forks: approval_policy",
    ):
        assert [line for line in lines if line.startswith(f"! {warned}")], done.stdout
