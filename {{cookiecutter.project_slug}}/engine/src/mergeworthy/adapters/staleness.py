"""Which stages are out of date, found out from git and dvc.lock alone: nothing is fetched."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..config import PARAMS
from ..errors import UserError
from ..paths import DATA, DATA_DVC, LOCK
from . import dvc_files, git
from .dvc_cli import BUSY, WAIT

if TYPE_CHECKING:
    from dvc.repo import Repo


def stale_stages() -> list[str]:
    """Stages that `dvc repro` would run, in the pipeline's order, told without any of their files."""
    # DVC's own `repro --dry` needs the files of the stages that would run.
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.hashfile.build import IgnoreInCollectedDirError

    _check_inputs()
    try:
        with Repo() as repo, repo.lock:
            _refuse_hidden(repo)
            stages = repo.index.stages
            changed = {stage.addressing for stage in stages if stage.changed(allow_missing=True, upstream=stages)}
    except (DvcException, IgnoreInCollectedDirError, OSError) as error:
        if BUSY.search(str(error)):
            raise UserError(WAIT) from None
        raise UserError(f"dvc cannot tell which stages are out of date: {error}") from None
    stale: list[str] = []
    spoiled: set[str] = set()
    for name, stage in dvc_files.pipeline().items():
        if name in changed or spoiled & set(_paths(stage, "deps")):
            stale.append(name)
            spoiled |= {path for kind in ("outs", "metrics", "plots") for path in _paths(stage, kind)}
    return stale


def _check_inputs() -> None:
    """Read DVC's inputs first: if one is damaged, DVC explains it at length, or with a traceback."""
    for name, stage in dvc_files.pipeline().items():
        if stage.get("frozen"):
            raise UserError(
                f"dvc.yaml: stages.{name}.frozen: a frozen stage never runs again, whatever changed: remove it"
            )
    params = [entry for stage in dvc_files.pipeline().values() for entry in stage.get("params") or []]
    names = {PARAMS.name, *(name for entry in params if isinstance(entry, dict) for name in entry)}
    for path in filter(os.path.lexists, [LOCK, DATA_DVC]):
        dvc_files.read(path)
    for path in filter(os.path.lexists, map(Path, sorted(names))):
        content = files.read_toml(path) if path.suffix == ".toml" else files.read_yaml(path)
        if not isinstance(content, dict):
            raise UserError(f"{path}: (top level): a mapping of keys is expected: restore it from git")


def _refuse_hidden(repo: "Repo") -> None:
    """Raise `UserError` if .dvcignore hides a file of the code, whose change would then make no stage run again."""
    hidden = [
        name for name in git.files("src", "engine/src/mergeworthy/stages.yaml") if repo.dvcignore.is_ignored_file(name)
    ]
    if hidden:
        raise UserError(
            f"{hidden[0]} is hidden from DVC by .dvcignore, so no stage would run again when it changes: "
            "let .dvcignore name no code, and keep what Python compiled (__pycache__) out of git"
        )


def _paths(stage: dict[str, Any], kind: str) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in stage.get(kind, [])]


def reads_data(stages: list[str]) -> bool:
    """Tell whether any of these stages reads the partitions themselves."""
    return any(str(DATA) in _paths(dvc_files.pipeline()[stage], "deps") for stage in stages)
