"""Which model answers: read once, told by every answer, `/model` and `/metrics`."""

import os
import shutil
from dataclasses import asdict, dataclass

from ..ops import git
from ..ops.dvc_files import md5
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
    """Ask files and git; an image, which has no git, is told by MODEL_COMMIT and MODEL_VERSION."""
    return Identity(
        commit=os.environ.get("MODEL_COMMIT") or (shutil.which("git") and git.resolve("HEAD")) or "unknown",
        version=os.environ.get("MODEL_VERSION") or "unknown",
        lock=md5(LOCK) if LOCK.exists() else "unknown",
        model=md5(MODEL),
    )
