"""Which model answers: read once, told by every answer, `/model` and `/metrics`."""

import os
import shutil
import subprocess
from dataclasses import asdict, dataclass

from ..files import md5
from ..paths import LOCK, MODEL


@dataclass(frozen=True)
class Identity:
    """Commit, registered version, md5 of `dvc.lock` and of the model; `unknown` is what cannot be told here."""

    commit: str
    version: str
    lock: str
    model: str

    def labels(self) -> dict[str, str]:
        """As mapping."""
        return asdict(self)


def read() -> Identity:
    """Ask files and git; an image, which has no git, is told by MODEL_COMMIT, MODEL_LOCK and MODEL_VERSION."""
    return Identity(
        commit=os.environ.get("MODEL_COMMIT") or _head() or "unknown",
        version=os.environ.get("MODEL_VERSION") or "unknown",
        lock=os.environ.get("MODEL_LOCK") or (md5(LOCK) if LOCK.exists() else "unknown"),
        model=md5(MODEL),
    )


def _head() -> str:
    if shutil.which("git") is None:
        return ""
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
