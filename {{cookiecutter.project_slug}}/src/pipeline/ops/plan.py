"""Would any stage run, and may it run here? Decided from git and dvc.lock alone: nothing is fetched."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from ..errors import UserError
from ..paths import DATA, LOCK, MODEL
from ..text import say
from . import git, github, workflow
from .event import Event, current

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

    try:
        with Repo() as repo, repo.lock:
            stages = repo.index.stages
            changed = {stage.addressing for stage in stages if stage.changed(allow_missing=True, upstream=stages)}
    except DvcException as error:
        raise UserError(f"dvc cannot tell which stages are out of date: {error}") from None
    stale: list[str] = []
    spoiled: set[str] = set()
    for name, stage in _pipeline().items():
        if name in changed or spoiled & set(_paths(stage, "deps")):
            stale.append(name)
            spoiled |= {path for kind in ("outs", "metrics", "plots") for path in _paths(stage, kind)}
    return stale


def _pipeline() -> dict[str, dict[str, Any]]:
    stages: dict[str, dict[str, Any]] = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    return stages


def _paths(stage: dict[str, Any], kind: str) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in stage.get(kind, [])]


def reads_data(stages: list[str]) -> bool:
    """Tell whether any of these stages reads the partitions themselves."""
    return any(str(DATA) in _paths(_pipeline()[stage], "deps") for stage in stages)


def judged(commit: str | None) -> dict[str, Any]:
    """What a verdict at that commit rests on: the model's hash and the gate's own settings."""
    if commit is None:
        return {}
    lock = yaml.safe_load(git.read(commit, LOCK) or "{}") or {}
    outs = [out for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])]
    model = next((out["md5"] for out in outs if out["path"] == str(MODEL)), None)
    data = yaml.safe_load(git.read(commit, Path("data.dvc")) or "{}") or {}
    return {"model": model, "data": data.get("outs"), "gates": git.read(commit, Path("gates.yaml"))}


def decide(event: Event) -> Plan:
    """Choose the work for an event; raise `UserError` where the lock is not true and nothing may be trained here."""
    stale = stale_stages()
    if not stale:
        # Against where the branch left, so that a branch which is merely behind does not offer an old model.
        base = git.merge_base(event.commit, event.champion) if event.champion else None
        if judged(event.commit) == judged(base):
            return Plan("nothing", "dvc.lock is true, and model, data and gate are as they were", stale)
        if event.fork:
            raise UserError(f"a fork's model is not judged here: {FORK}")
        return Plan("judge", "dvc.lock is true; model, data or gate changed", stale)
    outdated = f"dvc.lock is not true ({', '.join(stale)} would run)"
    if event.fork:
        raise UserError(f"{outdated}, and a fork never trains here: {FORK}")
    if event.name == "merge_group":
        raise UserError(
            f"{outdated}, and the merge queue trains nothing: bring the branch up to date, its pull request trains"
        )
    if event.branch and event.pull_request is None and github.is_protected(event):
        raise UserError(
            f"{outdated}, and {event.branch} is protected: open a pull request, it trains and commits the lock"
        )
    return Plan("train", outdated, stale)


def run() -> None:
    """Print the plan, and hand it to the workflow where there is one."""
    plan = decide(current())
    say(f"{plan.work}: {plan.reason}")
    workflow.outputs(work=plan.work)
