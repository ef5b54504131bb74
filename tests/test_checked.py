"""Which commits find that their sources were checked already, and what a pull request cannot forge."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bake import PRODUCT, ROOT
from tests.github import Clone, GitHub, Job, Repository, Run
from tests.github.events import on_branch
from tests.github.fixtures import bot

pytestmark = pytest.mark.dear
LOOK_UP = [
    "-c",
    "from mergeworthy.adapters.actions import current; from mergeworthy.workflow.plan import checked_by as look; "
    "print(look(current()))",
]
SOURCES = {"uv.lock": "version = 1\n", "src/ml/model.py": "x = 1\n"}


class Setting:
    """A repository whose main was checked by the run of its push, and a job that asks."""

    def __init__(self, github: GitHub, flights: Repository, alice: Clone, project: Path, folder: Path) -> None:
        self.github, self.flights, self.alice, self.folder = github, flights, alice, folder
        self.python = str(project / ".venv/bin/python")
        self.token = bot(github, flights, actions="read", contents="read")
        self.main = alice.commit("Sources", SOURCES)
        alice.push("main")
        self.run = self.ran("push")

    def ran(self, name: str, ref: str = "refs/heads/main", *, checks: str = "success", file: str = "ci.yaml") -> Run:
        """Record a run of a workflow on the newest commit of `ref`."""
        event = on_branch(self.flights, self.alice.token, name, ref=ref)
        run = Run(self.github.next_id(), f".github/workflows/{file}", event, conclusion="success")
        run.jobs["checks"] = Job("checks", checks, number=self.github.next_id(), completed_at="now")
        self.flights.runs[run.id] = run
        return run

    def commit(self, files: dict[str, str], branch: str = "work") -> str:
        """Push a commit on top of the clone's newest one to a branch."""
        commit = self.alice.commit("More", files)
        self.alice.push(branch)
        return commit

    def look_up(self, commit: str, name: str = "pull_request", **more: str) -> str:
        """Return the run that the plan of a job for `commit` would trust; None as a word if there is none."""
        job = Clone(self.github, self.flights, self.token, self.folder / f"job-{self.github.next_id()}")
        job.git("config", "--unset", "credential.helper")  # as persist-credentials: false leaves a checkout
        job.git("checkout", "-q", "--detach", commit)
        head = {"sha": commit, "ref": "work", "repo": {"full_name": "acme/flights"}}
        pull = {"number": 1, "head": head, "base": {"ref": "main", "sha": self.main}}
        payload: dict[str, Any] = {"pull_request": pull} if name == "pull_request" else {"before": self.main}
        file = job.folder.with_suffix(".json")
        file.write_text(json.dumps(payload))
        settings = {
            "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(file), "GITHUB_SHA": commit,
            "GITHUB_REF_NAME": "main", "GITHUB_REPOSITORY": "acme/flights", "GH_TOKEN": job.token.value,
            "PYTHONPATH": f"{ROOT / PRODUCT}/src:{ROOT / PRODUCT}/engine/src", **more,
        }  # fmt: skip
        return job.run("env", *(f"{key}={value}" for key, value in settings.items()), self.python, *LOOK_UP)


@pytest.fixture
def setting(github: GitHub, flights: Repository, alice: Clone, project: Path, tmp_path: Path) -> Setting:
    return Setting(github, flights, alice, project, tmp_path)


def test_commits_that_change_no_source_find_the_run_of_main(setting: Setting) -> None:
    found = f"https://github.com/acme/flights/actions/runs/{setting.run.id}"
    # given a lock, a staging and a promotion, a page, and data / then each finds it, on a branch and on main
    staging = "deploy/overlays/staging/model/kustomization.yaml"
    unread = ("dvc.lock", staging, "README.md", "docs/reviewer.md", "data.dvc")
    for number, name in enumerate(unread):
        assert setting.look_up(setting.commit({name: f"{number}\n"})) == found, name
    assert setting.look_up(setting.commit({"dvc.lock": "last\n"}, "main"), "push") == found
    # given a person who starts the workflow / then the checks run
    assert setting.look_up(setting.main, "workflow_dispatch") == "None"
    setting.github.assert_no_unknown()


@pytest.mark.parametrize(
    "name",
    ["src/ml/model.py", "uv.lock", ".github/workflows/ci.yaml", "Makefile", "docs/tool.py", "src/ml/x.md", "new.toml"],
)
def test_any_other_change_is_checked(setting: Setting, name: str) -> None:
    assert setting.look_up(setting.commit({name: "other\n"})) == "None"


def test_only_githubs_record_of_main_and_the_queue_counts(setting: Setting) -> None:
    # given other sources, on a branch
    commit = setting.commit({"src/ml/model.py": "x = 2\n"})
    # when the branch's own runs, another workflow, a check of that name and a failed or skipped job say that it is fine
    setting.ran("pull_request", "refs/heads/work")
    setting.ran("workflow_dispatch", "refs/heads/work")
    setting.ran("push", "refs/heads/work")
    setting.ran("push", "refs/heads/work", file="other.yaml")
    check = {"name": "checks", "head_sha": commit, "status": "completed", "conclusion": "success"}
    writer = bot(setting.github, setting.flights, checks="write")
    (setting.folder / "check.json").write_text(json.dumps(check))
    forger = Clone(setting.github, setting.flights, writer, setting.folder / "forger")
    forger.run("gh", "api", "repos/acme/flights/check-runs", "--input", str(setting.folder / "check.json"))
    # then it is checked
    assert setting.look_up(commit) == "None"
    setting.alice.push("main")
    for result in ("failure", "skipped", "cancelled"):
        setting.ran("push", checks=result)
    assert setting.look_up(commit, "push") == "None"
    # when the queue has checked it, then not again
    ref = "refs/heads/gh-readonly-queue/main/pr-1"
    setting.flights.git("update-ref", ref, commit)
    queued = setting.ran("merge_group", ref)
    assert setting.look_up(commit, "push").endswith(f"/runs/{queued.id}")


def test_what_cannot_be_known_is_checked(setting: Setting) -> None:
    # given no lock, which says what the checks ran with
    setting.alice.git("rm", "-q", "uv.lock")
    unlocked = setting.commit({"dvc.lock": "1\n"}, "main")
    setting.ran("push")
    assert setting.look_up(unlocked, "push") == "None"
    # given a token that may not ask / then that is said
    setting.token = bot(setting.github, setting.flights, contents="read")
    answer = setting.look_up(setting.main)
    assert answer.splitlines()[-1] == "None"
    assert "earlier checks cannot be looked up" in answer
