"""Would any stage run, and may it run here? Decided from git and dvc.lock alone: nothing is fetched."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import files
from ..errors import UserError
from ..paths import DATA, DATA_DVC, LOCK
from ..settings import GATES, PARAMS
from ..text import say
from . import dvc_files, git, github, provenance, remote, workflow
from .dvc_cli import BUSY, WAIT
from .event import Event, current

if TYPE_CHECKING:
    from dvc.repo import Repo

FORK = "a maintainer has to push this branch to the repository itself"
Work = Literal["nothing", "judge", "train"]


@dataclass(frozen=True)
class Plan:
    """`work` to be done for this commit, with the reason in a sentence and the stages that are out of date."""

    work: Work
    reason: str
    stale: list[str]


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


def judged(commit: str | None) -> dict[str, Any]:
    """Return what a verdict at that commit rests on: what the stages wrote, the data and the gate's own settings."""
    if commit is None:
        return {}
    lock, data = _at(commit, LOCK), _at(commit, DATA_DVC)
    return {"outs": dvc_files.outs(lock), "data": data.get("outs"), "gates": git.read(commit, GATES)}


def _at(commit: str, path: Path) -> dvc_files.Document:
    text = git.read(commit, path)
    return dvc_files.parse(text, f"{path} at {commit[:12]}") if text else {}


def decide(event: Event) -> Plan:
    """Choose the work for an event; raise `UserError` where the lock is not true and nothing may be trained here."""
    stale = stale_stages()
    if not stale:
        # Against where the branch left, so that a branch which is merely behind does not offer an old model.
        base = git.merge_base(event.commit, event.champion) if event.champion else None
        if judged(event.commit) == judged(base):
            return Plan("nothing", "dvc.lock is true, and what the stages wrote, data and gate are as they were", stale)
        if event.fork:
            raise UserError(f"a fork's model is not judged here: {FORK}")
        found = provenance.origin(base)
        if provenance.accepted(found) or _came_by_pull_request(event):
            return Plan("judge", "dvc.lock is true; model, other outputs, data or gate changed", stale)
        return _train(
            event, f"{found.sentence.removesuffix('.')}, and gates.yaml wants one (provenance.trained_by)", stale
        )
    return _train(event, f"dvc.lock is not true ({', '.join(stale)} would run)", stale)


def _came_by_pull_request(event: Event) -> bool:
    """Tell whether this is a push to a protected branch: the pull request before it was held to gates.yaml."""
    return bool(event.branch) and event.pull_request is None and github.is_protected(event)


def _train(event: Event, outdated: str, stale: list[str]) -> Plan:
    """Plan a training; raise `UserError` if none may be made here."""
    if event.fork:
        raise UserError(f"{outdated}, and a fork never trains here: {FORK}")
    if event.name == "merge_group":
        raise UserError(
            f"{outdated}, and the merge queue trains nothing: bring the branch up to date, its pull request trains"
        )
    if _came_by_pull_request(event):
        raise UserError(
            f"{outdated}, and {event.branch} is protected: open a pull request, it trains and commits the lock"
        )
    return Plan("train", outdated, stale)


def run() -> None:
    """Print the plan, and hand it to the workflow where there is one."""
    event = current()
    if event.name:
        workflow.warn_unwatched(git.default_branch())
    plan = decide(event)
    if plan.work != "nothing":
        remote.require_reach(planned=True)
    say(f"{plan.work}: {plan.reason}")
    workflow.outputs(work=plan.work)
