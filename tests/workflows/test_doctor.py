"""`make doctor` in a checkout whose GitHub is the stand-in."""

from pathlib import Path

import pytest

from tests.github import Environment, Organization
from tests.workflows.home import GPU, Home

pytestmark = pytest.mark.dear


def test_the_doctor_reads_what_github_tells(home: Home, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given an organisation whose runner carries the labels, and main protected
    labels = [{"name": name} for name in GPU]
    shared = Organization({"CPU_RUNNER": '["ubuntu-24.04"]'}, [{"name": "gpu-1", "status": "online", "labels": labels}])
    monkeypatch.setattr(home.repository, "organization", shared)
    monkeypatch.setitem(home.repository.protected, "main", ("verdict",))
    closed = Environment(branches=("main",))
    monkeypatch.setitem(home.repository.environments, "release", closed)
    monkeypatch.setattr(home.repository, "up_to_date", True)
    python = str(project / ".venv/bin/python")
    done = home.alice.attempt("env", "PYTHONPATH=src:engine/src", python, "-m", "mergeworthy", "doctor")
    lines = done.stdout.splitlines()
    for topic in ("repository: acme/flight-delays on github.com", "GPU_RUNNER", "CPU_RUNNER", "runner: ", "token: "):
        assert [line for line in lines if line.startswith(f"✓ {topic}")], done.stdout + done.stderr
    assert "✓ required check: nothing is merged into the default branch without `verdict`" in lines
    assert "✓ up to date: a branch must contain all of the default branch to be merged" in lines
    assert "✓ environment: `release` is open to main alone" in lines
    for warned in (
        "pull requests: GitHub Actions may not open them",
        "code owners: their review is not required",
        "forks: the rep",
    ):
        assert [line for line in lines if line.startswith(f"! {warned}")], done.stdout
