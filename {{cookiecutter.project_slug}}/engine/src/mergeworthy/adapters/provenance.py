"""Who made what dvc.lock names: a training of CI, or a person. Told from git, and from what this run handed over.

CI's job `train` hands the lock that it wrote to the job that judges. That one commits it as GitHub's bot, with
trailers: `Lock`, the MD5 of dvc.lock, `Run`, the address of the run, and `Made`, whether the DVC remote's run cache may
have saved a stage. A lock without such a commit is a person's. Git lets whoever may push choose a name: this tells a
mistake from a training, and is no proof against a colleague who forges one.
"""

import base64
import gzip
import os
import subprocess
from dataclasses import dataclass
from typing import Literal

from .. import config as settings
from .. import files
from ..errors import UserError
from ..files import md5
from ..paths import LOCK
from . import dvc_files, git, workflow
from .branch import BOT as IDENTITY
from .event import Event, current

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
    workflow.outputs(lock=base64.b64encode(gzip.compress(LOCK.read_bytes(), mtime=0)).decode())


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
