"""GitHub Actions: the event of this run, what a step hands to the workflow, and which run made a model."""

import base64
import gzip
import os
import subprocess
import uuid
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from .. import config as settings
from .. import files
from ..errors import UserError
from ..files import md5
from ..paths import LOCK
from ..text import annotation
from . import dvc_files, git
from .git import BOT as IDENTITY

# DOC adapters.event: What caused this run: read from GitHub's variables and payload in CI, from git on a laptop.

NEVER = "0" * 40


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
        """Address of the GitHub that runs this."""
        return os.environ.get("GITHUB_SERVER_URL", "https://github.com")


def current() -> Event:
    """Tell what this run is for; `champion` is the commit whose model is to be beaten, None where git has none.

    A workflow that trains a pull request which did not start it, as a retraining does, names it in COMMIT, BRANCH and
    PULL_REQUEST. LAPTOP says that a runner is somebody's own machine, as under `make act`. Raises `UserError` if a
    variable that GitHub's runner sets is missing, or its file about the event is not GitHub's.
    """
    git.require_top()
    if not os.environ.get("GITHUB_ACTIONS") or os.environ.get("LAPTOP"):
        return Event(name="", commit=git.resolve("HEAD") or NEVER, champion=None)
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
    payload = files.read_mapping(path, git.OUTSIDE)
    try:
        return _told(payload, repository)
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path} does not say of the event what GitHub says of one: {git.OUTSIDE}") from None


def _told(payload: dict[str, Any], repository: str | None) -> Event:
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
        champion=_before(payload, commit),
        branch=_variable("GITHUB_REF_NAME"),
        repository=repository,
    )


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise UserError(f"GITHUB_ACTIONS is set, but {name} is not: {git.OUTSIDE}") from None


def _before(payload: dict[str, Any], commit: str) -> str | None:
    """Return what a push replaced; for a schedule or a click the default branch, or on it the commit before."""
    if "before" in payload:
        return None if payload["before"] == NEVER else payload["before"]
    main = git.resolve(f"origin/{git.default_branch()}")
    return main if main != commit else git.resolve(f"{commit}^")


# DOC adapters.workflow: What a verb tells the workflow that runs it; on a laptop nobody listens.

CI = Path(".github/workflows/ci.yaml")


def outputs(**values: str) -> None:
    """Hand values to the later steps and jobs, whole: no value can end itself and begin another output."""
    _append("GITHUB_OUTPUT", "".join(_output(name, value) for name, value in values.items()))


def summarise(text: str) -> bool:
    """Put Markdown on the page of the run, and tell whether there is one."""
    return _append("GITHUB_STEP_SUMMARY", text)


def _output(name: str, value: str) -> str:
    if len(value.splitlines()) <= 1 and not value.endswith(("\n", "\r")):
        return f"{name}={value}\n"
    end = f"end-{uuid.uuid4()}"
    return f"{name}<<{end}\n{value}\n{end}\n"


def warn_unwatched(branch: str) -> None:
    """Warn, as an annotation of the run, if no push to the default branch starts ci.yaml: then nothing is released."""
    triggers = files.read_yaml(CI)["on"] if CI.exists() else {}
    named = (triggers.get("push") or {}).get("branches", ["*"]) if "push" in triggers else []
    if not any(fnmatchcase(branch, pattern) for pattern in named):
        told = f"no push to the default branch {branch!r} starts this workflow: add it to on.push"
        print(annotation("warning", told, CI))


def _append(variable: str, text: str) -> bool:
    path = os.environ.get(variable)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    return bool(path)


# DOC adapters.provenance: Who made what dvc.lock names: a training of CI, or a person. Told from git, and from what
# this run handed over. CI's job `train` hands the lock that it wrote to the job that judges. That one commits it as
# GitHub's bot, with trailers: `Lock`, the MD5 of dvc.lock, `Run`, the address of the run, and `Made`, whether the DVC
# remote's run cache may have saved a stage. A lock without such a commit is a person's. Git lets whoever may push
# choose a name: this tells a mistake from a training, and is no proof against a colleague who forges one.

BOT = IDENTITY["GIT_AUTHOR_EMAIL"]
SCRATCH = "from scratch"
HANDED = "TRAINED_LOCK"  # the lock that this run's job `train` wrote; GitHub's jobs hand on one line


@dataclass(frozen=True)
class Origin:
    """Who made the outputs: CI (`run` is its address), a person (`who`, `commit`), or main's own model, unchanged.

    `scratch` tells that CI ran every stage itself, and took nothing from the run cache, which people can write too.
    """

    kind: Literal["ci", "person", "main"]
    run: str | None = None
    scratch: bool = False
    who: str | None = None
    commit: str | None = None

    @property
    def sentence(self) -> str:
        """Return who made what dvc.lock names, in words."""
        if self.kind == "ci":
            how = "made it from scratch" if self.scratch else "made it, or had it in the run cache"
            return f"CI {how}: {self.run or 'a run that is not named'}."
        if self.kind == "main":
            return "Model and figures are main's own, unchanged."
        if self.commit is None:
            return f"{LOCK} is not committed yet: it was made in this folder, not by CI."
        return f"{self.who} committed {LOCK} ({self.commit[:12]}): no training of CI made what it names."


def origin(base: str | None = None) -> Origin:
    """Return who made what the dvc.lock in this folder names; `base` is the commit of main that it came from."""
    handed = os.environ.get(HANDED)
    if handed and LOCK.exists() and _unpacked(handed) == files.read_bytes(LOCK, dvc_files.FIX[LOCK.name]):
        return Origin("ci", _this_run(), scratch=from_scratch(current()))
    if proof := _proof():
        said = dict(line.split(": ", 1) for line in proof.splitlines() if ": " in line)
        return Origin("ci", said.get("Run"), scratch=said.get("Made") == SCRATCH)
    if LOCK.exists() and base and git.read(base, LOCK) == files.read_text(LOCK, dvc_files.FIX[LOCK.name]):
        return Origin("main")
    if not LOCK.exists():
        return Origin("person")
    known = _log("--format=%an%x00%H", "--", str(LOCK))
    if not known or git.read("HEAD", LOCK) != files.read_text(LOCK, dvc_files.FIX[LOCK.name]):
        return Origin("person")
    who, _, commit = known.strip().partition("\0")
    return Origin("person", who=who, commit=commit)


def accepted(found: Origin) -> bool:
    """Tell whether gates.yaml takes the outputs as they are, or wants CI to make them."""
    return found.kind == "main" or found.scratch or settings.provenance().trained_by == "anyone"


def to_be_recorded(event: Event) -> bool:
    """Tell whether CI made again what a person had committed, with the same result: then only its commit shows it."""
    return from_scratch(event) and bool(os.environ.get(HANDED)) and not _proof()


def trailers() -> str:
    """Return the last paragraph of the commit that records a training of CI."""
    made = SCRATCH if from_scratch(current()) else "run cache allowed"
    return f"Lock: {md5(LOCK)}\nRun: {_this_run()}\nMade: {made}"


def hand_over() -> None:
    """Give the workflow the lock as one line, for the job that judges what was trained."""
    outputs(lock=base64.b64encode(gzip.compress(LOCK.read_bytes(), mtime=0)).decode())


def take_over() -> None:
    """Write the lock that the job `train` of this run handed over, if there is one."""
    if handed := os.environ.get(HANDED):
        LOCK.write_bytes(_unpacked(handed))


def from_scratch(event: Event) -> bool:
    """Tell whether CI has to make everything itself: then no stage is skipped, nor restored from the run cache."""
    return bool(event.name) and settings.provenance().trained_by == "ci"


def _proof() -> str:
    """Return the message of the bot's commit that records a training with this very lock; nothing if there is none."""
    lock = md5(LOCK) if LOCK.exists() else "none"
    return _log("--fixed-strings", "--all-match", f"--author={BOT}", f"--grep=Lock: {lock}", "--format=%b")


def _unpacked(handed: str) -> bytes:
    try:
        return gzip.decompress(base64.b64decode(handed, validate=True))
    except (ValueError, OSError, EOFError):
        raise UserError(f"{HANDED} is not what the job `train` hands over: let the workflow set it") from None


def _this_run() -> str:
    event = current()
    return f"{event.server}/{event.repository}/actions/runs/{os.environ.get('GITHUB_RUN_ID', 'unknown')}"


def _log(*arguments: str) -> str:
    """Return what git says of the newest commit on this line that fits; nothing outside a repository."""
    done = subprocess.run(["git", "log", "-1", *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""
