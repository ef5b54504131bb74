"""`make update` on a project that its team has changed: no conflict, and only what was raised has to run."""

import json
import os
import shutil
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bake import BIN, PRODUCT, ROOT, export, git, run
from tests.github import Clone, GitHub
from tests.github.events import repository_json
from tests.github.fixtures import bot
from tests.github.process import TOOLS
from tests.tools import require
from tests.work import attempt, borrow, keep_environment, make, uv

pytestmark = pytest.mark.dear
EARLIER = "d0b581d1b821bf384edb72d0c3fa2b21d509bdc0"  # of this repository: where version 2.0 had its structure
STAGES = "engine/src/mergeworthy/stages.yaml"
STALE = ["-c", "from mergeworthy.adapters.dvc import stale_stages; print(*stale_stages())"]
TRAINED = ("data", "features", "models", "reports")
Edits = dict[str, tuple[str, str]]  # file → what is replaced, and by what; "" is the file's end
TEAM: Edits = {
    "src/ml/features.py": ("", "\n\n# ours\n"),
    "tests/test_features.py": ("", "\n\n# ours\n"),
    "gates.yaml": ("auc: {min: 0.65}", "auc: {min: 0.6}"),
    "params.yaml": ("epochs: 4", "epochs: 5"),
    "deploy/overlays/staging/kustomization.yaml": ("", "# ours\n"),
    "README.md": ("# ", "# Ours: "),
}
TEMPLATE: Edits = {  # the files that a team edits among them, at the same places
    "src/ml/features.py": ("", "\n\n# theirs\n"),
    "tests/test_features.py": ("", "\n\n# theirs\n"),
    "gates.yaml": ("auc: {min: 0.65}", "auc: {min: 0.7}"),
    "README.md": ("# ", "# Theirs: "),
    "engine/src/mergeworthy/cli.py": ("", "# theirs\n"),
    "engine/src/mergeworthy/stages/train.py": ("", "# theirs\n"),
    "engine/src/mergeworthy/more.py": ("", '"""A new module."""\n'),
    "engine/README.md": ("", "\nTheirs.\n"),
    "docs/operator.md": ("", "\nTheirs.\n"),
    "Makefile": ("", "\ntheirs: ## a new verb\n\t@true\n"),
}
WORKFLOW: Edits = {".github/workflows/drift.yaml": ("", "# theirs\n")}


@dataclass(frozen=True)
class Team:
    """A project that cruft generated, with a true lock of a trained model, and its template."""

    template: Path
    folder: Path

    def stale(self) -> list[str]:
        """Return the stages that would run."""
        return self.python(*STALE).split()

    def python(self, *words: str) -> str:
        """Return what Python prints with this project's engine."""
        code = {"PYTHONPATH": f"{self.folder}/src:{self.folder}/engine/src", "DVC_NO_ANALYTICS": "1"}
        done = run([str(self.folder / ".venv/bin/python"), *words], self.folder, **code)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def update(self) -> str:
        """Run the verb; return what it says."""
        return make(self.folder, "update", UV_OFFLINE="1")

    def commit(self) -> None:
        """Commit everything."""
        commit(self.folder)

    def assert_nothing_of_the_team_changed(self) -> None:
        """The team's edits are all there, nothing is rejected, and nothing conflicts."""
        assert not list(self.folder.rglob("*.rej"))
        assert "<<<<<<<" not in git(self.folder, "diff", "HEAD")
        changed = {line[3:] for line in git(self.folder, "status", "--porcelain").splitlines()}
        assert changed
        assert not changed & TEAM.keys()
        assert all(new in (self.folder / name).read_text() for name, (_, new) in TEAM.items())


def change(folder: Path, edits: Edits) -> None:
    """Make the edits, and commit."""
    for name, (old, new) in edits.items():
        path = folder / name
        text = path.read_text() if path.exists() else ""
        assert old in text, (name, old)
        path.write_text(text.replace(old, new, 1) if old else text + new)
    commit(folder)


def commit(folder: Path) -> None:
    """Commit everything."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Changes")


def generate(template: Path, project: Path, folder: Path) -> Team:
    """Generate a project by cruft, with the environment, the data and the outputs of `project`; its team edits it."""
    done = run(
        [str(BIN / "cruft"), "create", "--no-input", "--output-dir", str(folder), str(template)],
        template,
        HOME=str(template.parent),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    team = Team(template, folder / "flight-delays")
    git(team.folder, "init", "-q", "--initial-branch=main")
    borrow(project, team.folder)
    for name in TRAINED:
        shutil.copytree(project / name, team.folder / name, dirs_exist_ok=True)
    shutil.copy(project / "data.dvc", team.folder)
    git(team.folder, "config", "user.name", "Test")
    git(team.folder, "config", "user.email", "test@example.org")
    change(team.folder, TEAM)
    team.python("-m", "dvc", "commit", "--quiet", "--force")  # the lock of a pipeline that ran on all of this
    team.commit()
    assert team.stale() == []
    return team


@pytest.fixture
def team(project: Path, tmp_path: Path) -> Team:
    """A project of today's template."""
    return generate(export(tmp_path / "template"), project, tmp_path / "out")


def test_an_update_conflicts_with_nothing_and_runs_no_stage_and_a_raised_one_runs_with_what_follows(team: Team) -> None:
    # given a template with changes all over, also of lines that the team changed in files that are its own
    product = team.template / PRODUCT
    change(product, TEMPLATE)
    assert "stages to run: none" in team.update()
    assert team.stale() == []
    team.assert_nothing_of_the_team_changed()
    updated = {name: new for name, (_, new) in TEMPLATE.items() if name not in TEAM}
    assert all((team.folder / name).read_text().endswith(text) for name, text in updated.items())
    # once more, before and after the commit: nothing to do
    assert "up to date" in team.update()
    team.commit()
    assert "up to date" in team.update()
    # given a template that raises a version
    versions = yaml.safe_load((product / STAGES).read_text())
    raised = {STAGES: (f"train: {versions['train']}", f"train: {versions['train'] + 1}")}
    change(product, raised)
    assert "stages to run: train, evaluate, reference:" in team.update()
    assert team.stale() == ["train", "evaluate", "reference"]


@pytest.fixture
def earlier(project: Path, tmp_path: Path) -> Team:
    """A project of an earlier commit of the template; today's is the template's next commit."""
    template = tmp_path / "template"
    git(ROOT, "archive", "--output", str(tmp_path / "earlier.tar"), EARLIER)  # needs the history: no shallow clone
    with tarfile.open(tmp_path / "earlier.tar") as archive:
        archive.extractall(template, filter="data")
    git(template, "init", "-q", "--initial-branch=main")
    commit(template)
    team = generate(template, project, tmp_path / "out")
    # what pyproject.toml says today of the files that are the team's
    record = team.folder / ".cruft.json"
    skipped = tomllib.loads((ROOT / PRODUCT / "pyproject.toml").read_text())["tool"]["cruft"]["skip"]
    record.write_text(json.dumps(json.loads(record.read_text()) | {"skip": skipped}, indent=2))
    team.commit()
    for name in git(template, "ls-files").splitlines():
        (template / name).unlink()
    shutil.copytree(export(tmp_path / "today"), template, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git"))
    commit(template)
    return team


def test_a_project_of_the_first_commit_of_version_2_comes_to_todays_engine(earlier: Team) -> None:
    before, pins = versions(earlier.folder), groups(earlier.folder)
    done = earlier.update()
    # then the stages run whose version or libraries were raised, and what follows them
    now, pins_now = versions(earlier.folder), groups(earlier.folder)
    pipeline = yaml.safe_load((earlier.folder / "dvc.yaml").read_text())["stages"]
    raised = [
        name
        for name, stage in pipeline.items()
        if before[name] != now[name] or used(stage, pins) != used(stage, pins_now)
    ]
    assert "reference" in raised  # its version 2
    expected = followed(raised, pipeline)
    assert f"stages to run: {', '.join(expected)}:" in done
    assert earlier.stale() == expected
    # and all that is the team's is as it was, and passes its own checks with today's engine
    earlier.assert_nothing_of_the_team_changed()
    keep_environment(earlier.folder)  # which is that of today's project already
    earlier.python("-c", "from mergeworthy.config import gates; gates()")
    make(earlier.folder, "check")
    make(earlier.folder, "test")


def versions(folder: Path) -> dict[str, int]:
    """Return the version of each stage."""
    content: dict[str, int] = yaml.safe_load((folder / STAGES).read_text())
    return content


def groups(folder: Path) -> dict[str, Any]:
    """Return the pins of a project's libraries by group."""
    content: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["dependency-groups"]
    return content


def used(stage: dict[str, Any], pins: dict[str, Any]) -> list[Any]:
    """Return the pins that a stage of dvc.yaml depends on."""
    (names,) = [entry["pyproject.toml"] for entry in stage["params"] if "pyproject.toml" in entry]
    return [pins[name.removeprefix("dependency-groups.")] for name in names]


def followed(raised: list[str], pipeline: dict[str, Any]) -> list[str]:
    """Return the stages in the pipeline's order that read what one of `raised` writes, and those themselves."""
    due: list[str] = []
    outs: set[str] = set()
    for name, stage in pipeline.items():
        if name in raised or outs & set(stage["deps"]):
            due.append(name)
            outs |= {out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])}
    return due


def test_work_that_is_not_committed_is_refused_in_one_line(team: Team) -> None:
    change(team.template / PRODUCT, TEMPLATE)
    (team.folder / "README.md").write_text("Not yet committed.\n")
    done = attempt(team.folder, "update", UV_OFFLINE="1")
    assert done.returncode
    assert "1 file(s) are not committed (README.md): commit or stash them first" in done.stderr


def test_a_project_without_the_record_of_cruft_gets_the_command_that_writes_it(team: Team) -> None:
    (team.folder / ".cruft.json").unlink()
    done = attempt(team.folder, "update", UV_OFFLINE="1")
    assert done.returncode
    assert "there is no .cruft.json" in done.stderr
    assert "cruft==2.16.0 link" in done.stderr


@dataclass(frozen=True)
class Weekly:
    """The job of update.yaml on a schedule, which runs `make update` in a checkout of main."""

    team: Team
    github: GitHub
    job: Clone
    event: Path

    def attempt(self, **variables: str) -> tuple[int, str]:
        """Run the job in a fresh checkout; return the exit status and what it prints."""
        self.job.git("fetch", "-q", "origin")
        self.job.git("checkout", "-q", "-f", "--detach", "origin/main")
        self.job.git("clean", "-qfdx")
        python = self.team.folder / ".venv/bin/python"
        words = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "schedule",
            "GITHUB_EVENT_PATH": str(self.event),
            "GITHUB_REPOSITORY": self.job.repository.full_name,
            "GITHUB_REF_NAME": "main",
            "GITHUB_SHA": self.job.git("rev-parse", "HEAD"),
            "GH_TOKEN": self.job.token.value,
            "PYTHONPATH": "src:engine/src",
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "UV_OFFLINE": "1",
            "UV_CACHE_DIR": uv(self.team.folder, "cache", "dir").strip(),  # HOME is the job's own
            **variables,
        }
        pairs = [f"{name}={value}" for name, value in words.items()]
        done = self.job.attempt("env", *pairs, str(python), "-m", "mergeworthy.cli", "update")
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def weekly(team: Team, tmp_path: Path) -> Iterator[Weekly]:
    """The team's project on the stand-in of GitHub."""
    require(*TOOLS)
    with GitHub(tmp_path / "github") as github:
        repository = github.create("acme/flight-delays")
        repository.actions_may_open_pulls = True
        alice = Clone(
            github, repository, github.token("user", "alice", repository.full_name, bypass=True), tmp_path / "alice"
        )
        alice.git("fetch", "-q", str(team.folder), "HEAD")
        alice.git("push", "-q", "origin", "FETCH_HEAD:refs/heads/main")
        token = bot(github, repository, contents="write", pull_requests="write")
        event = tmp_path / "event.json"
        event.write_text(json.dumps({"repository": repository_json(repository)}))
        yield Weekly(team, github, Clone(github, repository, token, tmp_path / "job/flight-delays"), event)
        github.assert_no_unknown()


def test_the_weekly_job_opens_one_pull_request_and_a_second_run_changes_nothing(weekly: Weekly) -> None:
    repository, product = weekly.job.repository, weekly.team.template / PRODUCT
    # given a template without changes / then there is nothing to propose
    code, text = weekly.attempt()
    assert (code, repository.pulls) == (0, []), text
    # when the template has changed, then a pull request holds the update and nothing of the team's
    change(product, TEMPLATE)
    code, text = weekly.attempt()
    assert code == 0, text
    (pull,) = repository.pulls
    assert f"pull request {pull.number} is opened" in text
    assert (pull.title, pull.base, pull.state) == ("Update from the template", "main", "open")
    assert "of the template; stages to run: none.\n" in pull.body
    changed = set(repository.git("diff", "--name-only", "main", pull.head_sha).splitlines())
    assert changed == {name for name in TEMPLATE if name not in TEAM} | {".cruft.json"}
    # when it runs again, then the same commit is in the same pull request
    first = pull.head_sha
    code, text = weekly.attempt()
    assert code == 0, text
    assert f"pull request {pull.number} is up to date" in text
    assert (repository.pulls, pull.head_sha, repository.branch("update/engine")) == ([pull], first, first)
    # when the template changes a workflow, then the job's own token may not push it, and one line says what to do
    change(product, WORKFLOW)
    code, text = weekly.attempt()
    (line,) = [line for line in text.splitlines() if line.startswith("::error::")]
    assert code == 1
    assert ".github/workflows/drift.yaml, which no job's own token may push" in line
    assert repository.branch("update/engine") == first
