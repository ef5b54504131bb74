"""Would any stage run, and may it run here? Decided from git and dvc.lock alone: nothing is fetched."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..adapters import dvc_files, git, github, provenance, remote, workflow
from ..adapters.event import Event, current
from ..adapters.staleness import stale_stages
from ..config import GATES
from ..errors import UserError
from ..paths import DATA_DVC, LOCK
from ..text import say

if TYPE_CHECKING:
    pass

FORK = "a maintainer has to push this branch to the repository itself"
Work = Literal["nothing", "judge", "train"]


@dataclass(frozen=True)
class Plan:
    """`work` to be done for this commit, with the reason in a sentence and the stages that are out of date."""

    work: Work
    reason: str
    stale: list[str]


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
