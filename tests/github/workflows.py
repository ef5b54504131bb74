"""Workflow files as GitHub reads them: which events start them, in what order jobs run, which others they call."""

import fnmatch
import re
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import yaml

from .events import Event
from .repository import Repository

Workflow = dict[str, Any]
FOLDER = ".github/workflows"
DEFAULT_TYPES = {"pull_request": ("opened", "synchronize", "reopened")}


class WorkflowError(Exception):
    """GitHub would refuse to start the run ("startup failure"), or the harness cannot simulate it."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars: `on` is a word, and 3.10 is a number, as GitHub has it."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def load(text: str) -> Workflow:
    """Read a workflow file."""
    return dict(yaml.load(text, Loader=_Loader))  # noqa: S506 - a SafeLoader


def dump(workflow: Workflow) -> str:
    """Write a workflow for act, every string quoted so that it stays one."""
    return yaml.dump(workflow, Dumper=_Dumper, sort_keys=False, width=10_000)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def needs(job: Mapping[str, Any]) -> list[str]:
    """What a job waits for."""
    wanted = job.get("needs") or []
    return [wanted] if isinstance(wanted, str) else list(wanted)


def ancestors(workflow: Workflow, job: str) -> set[str]:
    """Every job that has to end before `job` starts."""
    direct = needs(workflow["jobs"][job])
    return set(direct).union(*(ancestors(workflow, one) for one in direct))


def order(workflow: Workflow) -> list[str]:
    """The jobs, each behind those it needs."""
    return sorted(workflow["jobs"], key=lambda job: len(ancestors(workflow, job)))


def levels(workflow: Workflow) -> list[list[str]]:
    """The jobs in groups: those of one group do not wait for each other."""
    return [list(group) for _, group in groupby(order(workflow), key=lambda job: len(ancestors(workflow, job)))]


def starts(workflow: Workflow, event: Event) -> bool:
    """Whether an event starts a workflow. Filters by path are refused: they leave required checks pending for ever."""
    triggers = workflow["on"]
    if not isinstance(triggers, dict):
        triggers = dict.fromkeys([triggers] if isinstance(triggers, str) else triggers)
    if event.name not in triggers:
        return False
    rule = triggers[event.name] or {}
    if event.name == "schedule":  # each cron line is an event of its own
        return event.payload["schedule"] in [entry["cron"] for entry in triggers[event.name]]
    if event.name in ("workflow_dispatch", "repository_dispatch"):
        return True
    if event.name == "workflow_run":
        if event.payload["workflow_run"]["name"] not in rule["workflows"]:
            return False
    elif "workflows" in rule:
        raise WorkflowError(f"`on.{event.name}.workflows` is no filter")
    if unknown := set(rule) - {"branches", "branches-ignore", "types", "tags", "workflows"}:
        raise WorkflowError(f"the stand-in does not read `on.{event.name}.{unknown.pop()}`")
    types = rule.get("types") or DEFAULT_TYPES.get(event.name)
    if types and event.payload.get("action") not in ([types] if isinstance(types, str) else types):
        return False
    return _branch_matches(rule, event)


def _branch_matches(rule: Mapping[str, Any], event: Event) -> bool:
    if event.ref.startswith("refs/tags/"):
        tag = event.ref.removeprefix("refs/tags/")
        return "branches" not in rule and any(fnmatch.fnmatch(tag, one) for one in rule.get("tags", ["*"]))
    pull = event.payload.get("pull_request")
    followed = event.payload.get("workflow_run")
    branch = pull["base"]["ref"] if pull else followed["head_branch"] if followed else event.ref
    branch = branch.removeprefix("refs/heads/")
    if "tags" in rule and "branches" not in rule:
        return False
    if any(fnmatch.fnmatch(branch, one) for one in rule.get("branches-ignore", [])):
        return False
    return any(fnmatch.fnmatch(branch, one) for one in rule.get("branches", ["*"]))


def called(repository: Repository, revision: str, job: Mapping[str, Any]) -> Workflow:
    """The workflow that a job calls; only local ones, one level deep."""
    if not job["uses"].startswith("./") or "strategy" in job:
        raise WorkflowError(f"the stand-in cannot call {job['uses']}")
    text = repository.read(revision, job["uses"].removeprefix("./"))
    if text is None:
        raise WorkflowError(f"error parsing called workflow: {job['uses']} was not found")
    found = load(text)
    if any("uses" in one for one in found["jobs"].values()):
        raise WorkflowError("the stand-in calls workflows one level deep")
    return found
