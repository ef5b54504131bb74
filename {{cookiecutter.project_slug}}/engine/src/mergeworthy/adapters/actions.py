"""GitHub Actions: the event that a run is for, outputs of a step, which run trained a model, and ci.yaml run here.

`Event` comes from GitHub's variables and payload in CI, and from git on a laptop.

`Origin` tells who made what dvc.lock records: a training of CI, or a person. CI's job `train` hands the lock that it
wrote to the job that judges it. That job commits the lock as GitHub's bot, with three trailers: `Lock`, the MD5 of
dvc.lock; `Run`, the address of the run; and `Made`, whether a stage may have come from the DVC remote's run cache. A
lock without such a commit is a person's. Git lets everyone who may push choose an author's name, so this finds
mistakes, and proves nothing against a colleague who forges a commit.
"""

import base64
import gzip
import json
import os
import re
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from .. import config as settings
from .. import files
from ..errors import UserError
from ..files import LOCK, md5
from ..text import annotation
from . import dvc, git

NO_COMMIT = "0" * 40  # as git writes it
WORKFLOWS = Path(".github/workflows")
CI = WORKFLOWS / "ci.yaml"
TRAINED_LOCK = "TRAINED_LOCK"  # variable with the lock that this run's job `train` wrote, as one line
FROM_SCRATCH = "from scratch"
RUNNER = "ubuntu-24.04"  # the label that the workflows use if no variable names a runner
# act reads every action, even of steps that are skipped. These need GitHub: what is done in their place, by action.
REPLACED = re.compile(r"uses: (actions/(checkout|create-github-app-token|upload-artifact)@\w+)")
CLONE = 'git clone --quiet "$LAPTOP" .'  # this repository as committed
INSTEAD = {
    "checkout": CLONE,
    "create-github-app-token": "echo no token here",
    "upload-artifact": "echo kept in this folder",
}


@dataclass(frozen=True)
class Event:
    """A push, a pull request, a merge-queue entry, a schedule or a click, or a person at a laptop (`name` is empty)."""

    name: str
    commit: str
    champion: str | None
    branch: str | None = None
    pull_request: int | None = None
    fork: bool = False
    repository: str | None = None
    on_behalf: bool = False  # of a pull request that did not start this run

    @property
    def server(self) -> str:
        """Return the address of the GitHub that runs this."""
        return os.environ.get("GITHUB_SERVER_URL", "https://github.com")

    def link(self, text: str, path: str) -> str:
        """Return Markdown's text as a link to a page of the repository; the text alone on a laptop."""
        return f"[{text}]({self.server}/{self.repository}/{path})" if self.name and self.repository else text

    def commit_link(self, commit: str | None) -> str:
        """Return the short hash of a commit, as a link if this is a run of GitHub's."""
        return self.link(f"`{commit[:12]}`", f"commit/{commit}") if commit else "`none`"

    def page_link(self, path: str) -> str:
        """Return the name of a file at this commit, as a link if this is a run of GitHub's."""
        return self.link(f"`{path}`", f"blob/{self.commit}/{path}")


def current() -> Event:
    """Return the event of this run; `champion` is the commit whose model is to be beaten, None if git has none.

    A workflow that trains a pull request which did not start it, as a retraining does, names it in COMMIT, BRANCH and
    PULL_REQUEST. LAPTOP is set if the runner is somebody's own machine, as under `make act`. Raise `UserError` if a
    variable that GitHub's runner sets is missing, or if the event's payload is not GitHub's.
    """
    git.require_top()
    if not os.environ.get("GITHUB_ACTIONS") or os.environ.get("LAPTOP"):
        return Event(name="", commit=git.resolve("HEAD") or NO_COMMIT, champion=None)
    repository = os.environ.get("GITHUB_REPOSITORY")
    if number := os.environ.get("PULL_REQUEST"):
        if not number.isdecimal():
            raise UserError(f"PULL_REQUEST must be the number of a pull request, not {number!r}")
        return Event(
            name="pull_request",
            commit=_variable("COMMIT"),
            champion=git.resolve(f"origin/{git.default_branch()}"),
            branch=_variable("BRANCH"),
            pull_request=int(number),
            repository=repository,
            on_behalf=True,
        )
    path = Path(_variable("GITHUB_EVENT_PATH"))
    payload = files.read_mapping(path, git.OUTSIDE_CI)
    try:
        return _event(payload, repository)
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is not the payload of an event of GitHub's: {git.OUTSIDE_CI}") from None


def _event(payload: dict[str, Any], repository: str | None) -> Event:
    """Return the event of a payload; raise `KeyError`, `TypeError` or `AttributeError` if it is not GitHub's."""
    if pull := payload.get("pull_request"):
        return Event(
            name="pull_request",
            commit=pull["head"]["sha"],
            champion=git.resolve(f"origin/{pull['base']['ref']}") or pull["base"]["sha"],
            branch=pull["head"]["ref"],
            pull_request=pull["number"],
            fork=(pull["head"]["repo"] or {}).get("full_name") != repository,
            repository=repository,
        )
    if group := payload.get("merge_group"):
        return Event(name="merge_group", commit=group["head_sha"], champion=group["base_sha"], repository=repository)
    commit = _variable("GITHUB_SHA")
    return Event(
        name=_variable("GITHUB_EVENT_NAME"),
        commit=commit,
        champion=_commit_before(payload, commit),
        branch=_variable("GITHUB_REF_NAME"),
        repository=repository,
    )


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise UserError(f"GITHUB_ACTIONS is set, but {name} is not: {git.OUTSIDE_CI}") from None


def _commit_before(payload: dict[str, Any], commit: str) -> str | None:
    """Return the commit that a push replaced; for a schedule or a click the default branch, or on it the parent."""
    if "before" in payload:
        return None if payload["before"] == NO_COMMIT else payload["before"]
    main = git.resolve(f"origin/{git.default_branch()}")
    return main if main != commit else git.resolve(f"{commit}^")


# What a command hands to the workflow that runs it; on a laptop nothing reads it.


def outputs(**values: str) -> None:
    """Set outputs for later steps and jobs; no value can end itself and begin another output."""
    _append("GITHUB_OUTPUT", "".join(_output(name, value) for name, value in values.items()))


def summarise(text: str) -> bool:
    """Add Markdown to the summary of the run; return whether there is a run."""
    return _append("GITHUB_STEP_SUMMARY", text)


def warn_unwatched(branch: str) -> None:
    """Warn, as an annotation of the run, if no push to the default branch starts ci.yaml: then nothing is released."""
    triggers = files.read_yaml(CI)["on"] if CI.exists() else {}
    patterns = (triggers.get("push") or {}).get("branches", ["*"]) if "push" in triggers else []
    if not any(fnmatchcase(branch, pattern) for pattern in patterns):
        warning = f"no push to the default branch {branch!r} starts this workflow: add it to on.push"
        print(annotation("warning", warning, CI))


def _output(name: str, value: str) -> str:
    if len(value.splitlines()) <= 1 and not value.endswith(("\n", "\r")):
        return f"{name}={value}\n"
    end = f"end-{uuid.uuid4()}"
    return f"{name}<<{end}\n{value}\n{end}\n"


def _append(variable: str, text: str) -> bool:
    path = os.environ.get(variable)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    return bool(path)


# Who made what dvc.lock records.


@dataclass(frozen=True)
class Origin:
    """Who made the outputs: CI (`run` is its address), a person (`who`, `commit`), or main's own model, unchanged.

    `scratch` is true if CI ran every stage itself and took nothing from the run cache, which people can write to.
    """

    kind: Literal["ci", "person", "main"]
    run: str | None = None
    scratch: bool = False
    who: str | None = None
    commit: str | None = None

    @property
    def sentence(self) -> str:
        """Return in a sentence who made what dvc.lock records."""
        if self.kind == "ci":
            how = "made it from scratch" if self.scratch else "made it, or had it in the run cache"
            return f"CI {how}: {self.run or 'a run that is not named'}."
        if self.kind == "main":
            return "Model and figures are main's own, unchanged."
        if self.commit is None:
            return f"{LOCK} is not committed yet: it was made in this folder, not by CI."
        return f"{self.who} committed {LOCK} ({self.commit[:12]}): no training of CI made what it names."


def origin(base: str | None = None) -> Origin:
    """Return who made what this folder's dvc.lock records; `base` is the commit of main that the branch started at."""
    fix = dvc.HOW_TO_FIX[LOCK.name]
    trained_lock = os.environ.get(TRAINED_LOCK)
    if trained_lock and LOCK.exists() and _unpacked(trained_lock) == files.read_bytes(LOCK, fix):
        return Origin("ci", _run_address(), scratch=from_scratch(current()))
    if message := _training_record():
        trailer = dict(line.split(": ", 1) for line in message.splitlines() if ": " in line)
        return Origin("ci", trailer.get("Run"), scratch=trailer.get("Made") == FROM_SCRATCH)
    if not LOCK.exists():
        return Origin("person")
    if base and git.read(base, LOCK) == files.read_text(LOCK, fix):
        return Origin("main")
    author_and_commit = git.query("log", "-1", "--format=%an%x00%H", "--", str(LOCK))
    if not author_and_commit or git.read("HEAD", LOCK) != files.read_text(LOCK, fix):
        return Origin("person")
    author, _, commit = author_and_commit.partition("\0")
    return Origin("person", who=author.strip(), commit=commit.strip())


def accepted(outputs_origin: Origin) -> bool:
    """Return whether gates.yaml accepts outputs of this origin; if not, CI has to make them anew."""
    by_anyone = settings.provenance().trained_by == "anyone"
    return outputs_origin.kind == "main" or outputs_origin.scratch or by_anyone


def to_be_recorded(event: Event) -> bool:
    """Return whether CI repeated a person's training with the same result: then only a commit can record that."""
    return from_scratch(event) and bool(os.environ.get(TRAINED_LOCK)) and not _training_record()


def trailers() -> str:
    """Return the last paragraph of the message of the commit that records a training of CI."""
    how = FROM_SCRATCH if from_scratch(current()) else "run cache allowed"
    return f"Lock: {md5(LOCK)}\nRun: {_run_address()}\nMade: {how}"


def hand_over() -> None:
    """Set the lock as an output, in one line, for the job that judges what was trained."""
    outputs(lock=base64.b64encode(gzip.compress(LOCK.read_bytes(), mtime=0)).decode())


def take_over() -> None:
    """Write the lock that the job `train` of this run handed over, if there is one."""
    if trained_lock := os.environ.get(TRAINED_LOCK):
        LOCK.write_bytes(_unpacked(trained_lock))


def from_scratch(event: Event) -> bool:
    """Return whether CI has to make everything itself: then no stage is skipped or restored from the run cache."""
    return bool(event.name) and settings.provenance().trained_by == "ci"


def _training_record() -> str:
    """Return the message of the bot's commit that records a training with this lock; empty if there is none."""
    lock = md5(LOCK) if LOCK.exists() else "none"
    author, trailer = f"--author={git.BOT['GIT_AUTHOR_EMAIL']}", f"--grep=Lock: {lock}"
    return git.query("log", "-1", "--fixed-strings", "--all-match", author, trailer, "--format=%b") or ""


def _unpacked(trained_lock: str) -> bytes:
    try:
        return gzip.decompress(base64.b64decode(trained_lock, validate=True))
    except (ValueError, OSError, EOFError):
        raise UserError(f"{TRAINED_LOCK} is not what the job `train` hands over: let the workflow set it") from None


def _run_address() -> str:
    event = current()
    return f"{event.server}/{event.repository}/actions/runs/{os.environ.get('GITHUB_RUN_ID', 'unknown')}"


def run_locally() -> int:
    """Run ci.yaml on this machine, as committed, with act; return its exit status; raise `UserError` without act."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return subprocess.run(act_command(Path(folder)), env=_act_environment(), check=False).returncode
        except FileNotFoundError:
            raise UserError("act is not on the PATH: install it (https://nektosact.com), or run `make ci`") from None


def act_command(folder: Path) -> list[str]:
    """Return act's command line; write the files that act needs beside the repository into `folder`."""
    for name, command in INSTEAD.items():
        steps = [{"shell": "bash", "run": command}]
        action = {"name": name, "description": command, "runs": {"using": "composite", "steps": steps}}
        (folder / name).mkdir()
        (folder / name / "action.yaml").write_text(json.dumps(action))  # JSON is YAML
    secrets = folder / "secrets.yaml"
    secrets.touch(mode=0o600)
    secrets.write_text(json.dumps({"DVC_CONFIG": _dvc_remote()}))
    actions = {found for path in WORKFLOWS.glob("*.yaml") for found in REPLACED.findall(path.read_text())}
    options = {
        "--workflows": str(CI),
        "--platform": f"{RUNNER}=-self-hosted",  # on this machine, without Docker
        "--container-daemon-socket": "-",
        "--secret-file": str(secrets),
        "--env": f"LAPTOP={Path.cwd()}",
        "--action-cache-path": str(folder / "actions"),
    }
    replaced = (("--local-repository", f"{action}={folder / name}") for action, name in sorted(actions))
    pairs = [*options.items(), *replaced]
    return [
        "act",
        "workflow_dispatch",
        "--no-skip-checkout",
        "--no-cache-server",
        *(word for pair in pairs for word in pair),
    ]


def _dvc_remote() -> str:
    """Return the default DVC remote of this checkout as configuration, with its credentials, for jobs elsewhere."""
    from dvc.repo import Repo

    with Repo() as repo:
        name = repo.config["core"].get("remote")
        settings = repo.config["remote"].get(name, {})
    return "\n".join([f"['remote \"{name}\"']", *(f"    {key} = {value}" for key, value in settings.items()), ""])


def _act_environment() -> dict[str, str]:
    """Return the environment without what leads a job back to this checkout: its programs on the PATH, make's state."""
    here = str(Path.cwd())
    path = [entry for entry in os.environ["PATH"].split(os.pathsep) if not entry.startswith(here)]
    state = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VIRTUAL_ENV", "PYTHONPATH")
    return {key: value for key, value in os.environ.items() if key not in state} | {"PATH": os.pathsep.join(path)}
