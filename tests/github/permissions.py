"""What the token of a job may do: the grants that its workflow declares, and GitHub's limits to them."""

from collections.abc import Mapping
from typing import Any

from .repository import Repository
from .tokens import JOB_PERMISSIONS, Level
from .workflows import Workflow, WorkflowError, called

Grants = dict[str, Level]
RANK: dict[Level, int] = {"none": 0, "read": 1, "write": 2}


def base(repository: Repository, workflow: Workflow) -> Grants:
    """What a job without `permissions` gets."""
    everything: Grants = dict.fromkeys(JOB_PERMISSIONS, "write")
    restricted: Grants = {"contents": "read", "packages": "read"}
    return granted(workflow.get("permissions"), everything if repository.default_permissions == "write" else restricted)


def granted(declared: Any, otherwise: Mapping[str, Level]) -> Grants:
    """The grants of one `permissions:` block; where there is none, `otherwise`."""
    if declared is None:
        return dict(otherwise)
    if isinstance(declared, str):
        level: Level = "write" if declared == "write-all" else "read"
        return dict.fromkeys(JOB_PERMISSIONS, level)
    if unknown := set(declared) - {*JOB_PERMISSIONS, "models", "discussions"}:
        raise WorkflowError(f"no job can have the permission `{unknown.pop()}`")
    return {key: level for key, level in declared.items() if level != "none"}


def nested(workflow: Workflow, job: Mapping[str, Any], ceiling: Mapping[str, Level]) -> Grants:
    """The grants of a job in a called workflow."""
    return granted(job.get("permissions", workflow.get("permissions")), ceiling)


def check_calls(repository: Repository, revision: str, workflow: Workflow) -> None:
    """GitHub's check before a run starts: no job of a called workflow may ask for more than the calling job holds."""
    for name, job in workflow["jobs"].items():
        if "uses" not in job:
            continue
        ceiling = granted(job.get("permissions"), base(repository, workflow))
        inner = called(repository, revision, job)
        for one, declared in inner["jobs"].items():
            for key, level in nested(inner, declared, ceiling).items():
                held = ceiling.get(key, "none")
                if RANK[level] > RANK[held]:
                    asked = f"The nested job '{name} / {one}' is requesting '{key}: {level}'"
                    raise WorkflowError(f"{asked}, but is only allowed '{key}: {held}'.")


def capped(grants: Mapping[str, Level], level: Level) -> Grants:
    """Grants cut down to `level`, as for a fork's pull request."""
    return {key: min(held, level, key=lambda one: RANK[one]) for key, held in grants.items()}
