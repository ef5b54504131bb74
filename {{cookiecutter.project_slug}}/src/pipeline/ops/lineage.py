"""What a model was made from, read from git and DVC's text files; runs, versions and images carry it as tags."""

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError
from ..paths import DATA_DVC, LOCK, MODEL


def document(path: Path) -> dict[str, Any]:
    """Read a text file of DVC's; raise `UserError` where it is missing or not a mapping."""
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `make data pipeline`") from None
    except yaml.YAMLError:
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not what DVC writes: restore it with `git checkout {path}`")
    return content


def md5(path: Path) -> str:
    """Hash as DVC does; of dvc.lock itself it names the training, in the gate's verdict as in MLflow."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def outs(lock: Mapping[str, Any]) -> dict[str, str]:
    """Give path → md5 of all that the stages wrote."""
    return {out["path"]: out["md5"] for stage in _stages(lock) for out in stage.get("outs", [])}


def params(lock: Mapping[str, Any]) -> dict[str, Any]:
    """Give dotted name → value of each parameter the model was made with, as DVC recorded it when it ran the stages."""
    files = [values for stage in _stages(lock) for values in stage.get("params", {}).values()]
    return {name: value for values in files for name, value in flat(values, ".").items()}


def flat(values: Mapping[str, Any], separator: str) -> dict[str, Any]:
    """Nested mappings as one, their keys joined."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{name}{separator}{below}": leaf for below, leaf in flat(value, separator).items()}
        else:
            found[name] = value
    return found


def lineage() -> dict[str, str]:
    """Tags: commit, branch, dirty (is more than dvc.lock uncommitted?), and hashes of lock, data and model."""
    lock = document(LOCK)
    branch = _git("branch", "--show-current") or os.environ.get("GITHUB_HEAD_REF") or os.environ.get("GITHUB_REF_NAME")
    tags = {
        "commit": _git("rev-parse", "--verify", "HEAD"),
        "branch": branch,
        "dirty": str(bool(_git("status", "--porcelain", "--", ".", f":(exclude){LOCK}"))).lower(),
        "lock": md5(LOCK),
        "data": document(DATA_DVC)["outs"][0]["md5"],
        "model": outs(lock).get(MODEL.as_posix()),
    }
    return {name: value for name, value in tags.items() if value}


def _stages(lock: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list((lock.get("stages") or {}).values())


def _git(*words: str) -> str | None:
    """Ask git; None where this is no repository or has no commit yet."""
    answer = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None
