"""A generated project that lives in the stand-in of GitHub, small enough to be trained in seconds."""

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import yaml

from tests.bake import git
from tests.github import HOSTED, Clone, Event, GitHub, Machine, PullRequest, Repository, Run, Watch, run_event
from tests.work import clone, make

GPU = frozenset({"self-hosted", "gpu"})
# The team's own tests run in test_project.py; here it is enough that `make test` can fail.
TEST = "from ml import project\n\n\ndef test_the_project_has_a_target() -> None:\n    assert project.target\n"


@dataclass
class Home:
    """The repository, a maintainer's clone of it, its DVC remote, and the machines that run its jobs."""

    github: GitHub
    repository: Repository
    alice: Clone
    remote: Path
    machine: Machine

    def events(self) -> list[Event]:
        """What was recorded since the last time."""
        return list(self.github.events())

    def run(self, event: Event, *watch: Watch, previous: Run | None = None, **environment: str) -> Run:
        """Run the one workflow that the event starts."""
        machine = replace(self.machine, environment={**self.machine.environment, **environment})
        (run,) = run_event(self.github, event, machine, watch=list(watch), previous=previous)
        run.assert_no_secret_in_logs()
        return run

    def propose(self, branch: str, files: dict[str, str]) -> Event:
        """Open a pull request from up-to-date main; the event that it starts."""
        self.alice.git("fetch", "-q", "origin")
        self.alice.open_pull(branch, files)
        *_, event = self.events()
        return event

    def pull(self, branch: str) -> PullRequest:
        """The pull request of a branch."""
        return next(pull for pull in self.repository.pulls if pull.head == branch)

    def checks(self, commit: str | None) -> list[tuple[str, str | None]]:
        """Every check on a commit, and how it ended."""
        return [(check.name, check.conclusion) for check in self.repository.checks if check.head_sha == commit]

    def verdicts(self, commit: str | None) -> list[str | None]:
        """How the checks called verdict on a commit ended."""
        return [conclusion for name, conclusion in self.checks(commit) if name == "verdict"]

    def params(self, **train: object) -> dict[str, str]:
        """params.yaml of main with other training settings."""
        text = self.alice.git("show", "origin/main:params.yaml")
        settings = yaml.safe_load(text)
        settings["train"] |= train
        return {"params.yaml": yaml.safe_dump(settings, sort_keys=False)}

    def model(self, commit: str) -> str:
        """The hash of the model that a commit's lock names."""
        self.alice.git("fetch", "-q", "origin")
        lock = yaml.safe_load(self.alice.git("show", f"{commit}:dvc.lock"))
        outs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
        return str(outs["models/model.onnx"])


def settle(github: GitHub, project: Path, folder: Path) -> Home:
    """Push a small version of `project` to a new repository: three months, a small network, few tests."""
    repository = github.create("acme/flight-delays")
    remote = folder / "dvc-remote"
    repository.variables |= {"GPU_RUNNER": '["self-hosted", "gpu"]'}
    repository.secrets["DVC_CONFIG"] = f"['remote \"storage\"']\n    url = {remote}\n"
    # a double, as CML 0.20.6 itself cannot be had here
    cml = Path(__file__).with_name("cml.py").read_bytes()
    platforms = [f"cml-{system}-{chip}" for system in ("linux", "macos") for chip in ("x64", "arm64")]
    github.create("iterative/cml").releases["v0.20.6"] = dict.fromkeys(platforms, cml)
    token = github.token("user", "alice", repository.full_name, bypass=True)
    alice = Clone(github, repository, token, folder / "alice/flight-delays")
    small = clone(project, folder / "small")
    (small / "data.dvc").unlink()
    make(small, "data", "UNTIL=2013-03")
    for test in (small / "tests").rglob("test_*.py"):
        test.unlink()
    (small / "tests/test_registration.py").write_text(TEST)
    for name in git(small, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if name != ".venv" and (small / name).is_file():
            (alice.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(small / name, alice.folder / name)
    record = "".join(f"{sha256(cml).hexdigest()}  {platform}\n" for platform in platforms)
    (alice.folder / ".github/cml.sha256").write_text(record)  # as `make cml RECORD=1` does
    settings = yaml.safe_load((alice.folder / "params.yaml").read_text())
    settings["train"] |= {"epochs": 2, "batch_rows": 512, "width": 32}
    alice.commit("A new project", {"params.yaml": yaml.safe_dump(settings, sort_keys=False)})
    cache = subprocess.run(["uv", "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    environment = {
        "UV_CACHE_DIR": cache,
        "UV_OFFLINE": "1",  # the project's own environment was made from this cache: no job need ask the index again
        "PYTHONPYCACHEPREFIX": str(folder / "pycache"),  # as infra/runner keeps it
        "MYPY_CACHE_DIR": os.environ["MYPY_CACHE_DIR"],
        "PATH": os.environ["PATH"],
    }
    machine = Machine(runners=[HOSTED, GPU], environment=environment, work=folder / "work")
    return Home(github, repository, alice, remote, machine)


def on_path(folder: Path, name: str, text: str) -> str:
    """A PATH on which this program comes first."""
    folder.mkdir()
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def results(run: Run) -> dict[str, str]:
    """Each job's result."""
    return {name: job.result for name, job in run.jobs.items()}


GREEN = dict.fromkeys(["checks", "plan", "train / train", "train / report", "verdict"], "success")
