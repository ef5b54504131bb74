"""What a model was made from, read from git and DVC's text files; runs, versions and images carry it as tags."""

import os
import subprocess

from ..files import md5
from ..paths import DATA_DVC, LOCK, MODEL
from . import dvc_files


def commit() -> str | None:
    """The commit that is checked out; None where this is no repository or has none yet."""
    return _git("rev-parse", "--verify", "HEAD")


def lineage() -> dict[str, str]:
    """Tags: commit, branch, dirty (is more than dvc.lock uncommitted?), and hashes of lock, data and model."""
    lock = dvc_files.read(LOCK)
    branch = _git("branch", "--show-current") or os.environ.get("GITHUB_HEAD_REF") or os.environ.get("GITHUB_REF_NAME")
    tags = {
        "commit": commit(),
        "branch": branch,
        "dirty": str(bool(_git("status", "--porcelain", "--", ".", f":(exclude){LOCK}"))).lower(),
        "lock": md5(LOCK),
        "data": dvc_files.read(DATA_DVC)["outs"][0]["md5"],
        "model": dvc_files.outs(lock).get(MODEL.as_posix()),
    }
    return {name: value for name, value in tags.items() if value}


def _git(*words: str) -> str | None:
    """Ask git; None where this is no repository or has no commit yet."""
    answer = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None
