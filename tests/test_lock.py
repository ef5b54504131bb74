"""`make lock`, the product's own code, against the stand-in: what a job pushes to the branch that it trained."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bake import PRODUCT, ROOT
from tests.github import Clone, GitHub, Repository
from tests.github.fixtures import bot

pytestmark = pytest.mark.dear
LOCKS = [
    "-c",
    "from mergeworthy.workflow.plan import run_lock as run; from mergeworthy.errors import run as main; main(run)",
]
TRAINED = {"dvc.lock": "trained: 2\n"}


@dataclass
class Job(Clone):
    """A job's checkout, with the Python of a generated project."""

    python: str


def lock(job: Job, commit: str, branch: str) -> "subprocess.CompletedProcess[str]":
    """Run the step in a job's checkout of `commit`, which a pull request from `branch` started."""
    payload = job.folder.parent / f"{job.folder.name}.json"
    head = {"sha": commit, "ref": branch, "repo": {"full_name": "acme/flights"}}
    payload.write_text(json.dumps({"pull_request": {"number": 1, "head": head, "base": {"ref": "main", "sha": ""}}}))
    settings = {
        "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(payload),
        "GITHUB_REPOSITORY": "acme/flights", "PYTHONPATH": f"{ROOT / PRODUCT}/src:{ROOT / PRODUCT}/engine/src",
        "GITHUB_OUTPUT": str(payload.with_suffix(".out")),
    }  # fmt: skip
    return job.attempt("env", *(f"{name}={value}" for name, value in settings.items()), job.python, *LOCKS)


@pytest.fixture
def job(github: GitHub, flights: Repository, alice: Clone, project: Path, tmp_path: Path) -> Job:
    """The checkout of a job that trained the pull request `better`, with a token that may write contents."""
    alice.open_pull("better", {"params.yaml": "epochs: 3\n", "dvc.lock": "trained: 1\n"})
    github.events()
    token, python = bot(github, flights, contents="write"), str(project / ".venv/bin/python")
    job = Job(github, flights, token, tmp_path / "job", python)
    job.git("config", "--unset", "credential.helper")  # as persist-credentials: false leaves a checkout
    job.git("checkout", "-q", "--detach", "origin/better")
    (job.folder / "dvc.lock").write_text(TRAINED["dvc.lock"])
    return job


@pytest.mark.parametrize("signatures", [False, True])
def test_the_lock_is_pushed_with_the_jobs_token_and_parks_a_run(
    github: GitHub, flights: Repository, alice: Clone, job: Job, signatures: bool
) -> None:
    # given a branch that demands signatures, or not
    flights.signed = {"better"} if signatures else set()
    alice.commit("Unsigned", {"README.md": ""})
    pushed = alice.attempt("git", "push", "-q", "origin", "HEAD:signed-or-not", "HEAD:better")
    assert (pushed.returncode != 0) == signatures, pushed.stderr
    head = str(flights.branch("better"))
    job.git("fetch", "-q", "origin")
    job.git("checkout", "-q", "--detach", "--force", head)
    (job.folder / "dvc.lock").write_text(TRAINED["dvc.lock"])
    github.events()

    done = lock(job, head, "better")

    # then the branch has the lock on top, GitHub's signature on it, and the job stands on it
    assert done.returncode == 0, done.stderr
    made = str(flights.branch("better"))
    assert flights.git("log", "-1", "--format=%P %an", made) == f"{head} github-actions[bot]"
    assert flights.git("diff", "--name-only", head, made) == "dvc.lock"
    assert flights.read(made, "dvc.lock") == TRAINED["dvc.lock"]
    assert "gpgsig" in flights.git("cat-file", "commit", made)
    assert (job.git("rev-parse", "HEAD"), job.git("status", "--porcelain")) == (made, "")
    assert f"commit={made}\n" in (job.folder.parent / "job.out").read_text()
    # and the run that it starts waits for a click, while the commit carries no check yet: `make verdict` puts it there
    assert [(event.name, event.state) for event in github.events()] == [("pull_request", "waiting")]
    # when the job runs again, then nothing more is pushed
    job.git("checkout", "-q", "--detach", "--force", head)
    (job.folder / "dvc.lock").write_text(TRAINED["dvc.lock"])
    assert lock(job, head, "better").returncode == 0
    assert flights.branch("better") == made
    github.assert_no_unknown()


def test_a_branch_that_moved_on_or_is_gone_is_left_alone(flights: Repository, alice: Clone, job: Job) -> None:
    head = job.git("rev-parse", "HEAD")
    alice.commit("Meanwhile", {"README.md": "more\n"})
    alice.push("better")
    moved = flights.branch("better")

    done = lock(job, head, "better")

    assert (done.returncode, flights.branch("better")) == (0, moved), done.stderr
    assert "moved on" in done.stdout
    assert (job.folder.parent / "job.out").read_text() == "commit=\n"
    alice.git("push", "-q", "origin", ":better")
    assert (lock(job, head, "better").returncode, flights.branch("better")) == (0, None)


@pytest.mark.parametrize("level", ["none", "read"])
def test_a_token_that_may_not_write_is_one_line(github: GitHub, flights: Repository, job: Job, level: str) -> None:
    job.token = bot(github, flights, contents="read") if level == "read" else bot(github, flights)
    head = job.git("rev-parse", "HEAD")
    done = lock(job, head, "better")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("::error::")
    assert flights.branch("better") == head


def test_a_job_cannot_push_to_a_protected_main(flights: Repository, job: Job) -> None:
    # given main that only pull requests change / when code of a pull request runs the step on main
    flights.protected["main"] = ("verdict",)
    main = str(flights.branch("main"))
    job.git("checkout", "-q", "--detach", "--force", main)
    (job.folder / "dvc.lock").write_text("mine\n")
    done = lock(job, main, "main")
    # then the job's token, the only one that it holds, is refused
    assert done.returncode == 1
    assert "Protected branch update failed" in done.stderr
    assert flights.branch("main") == main
