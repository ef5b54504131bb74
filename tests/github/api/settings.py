"""Settings of a repository's Actions: variables, secrets' names, permissions, runners; and dispatching a workflow."""

from base64 import b64decode, b64encode
from typing import Any
from zlib import crc32

from .. import events
from ..repository import Environment
from ..routes import ApiError, Call, as_json, route
from ..transport import Response
from . import rules

PUBLIC_KEY = {"key_id": "1", "key": b64encode(bytes(range(1, 33))).decode()}  # nobody has the other half
SEAL_BYTES = 48  # of a sealed box beyond its content: a public key, and a digest


@route("GET", "/actions/variables", "variables:read")
def _variables(call: Call) -> dict[str, Any]:
    found = [{"name": name, "value": value} for name, value in call.repository.variables.items()]
    return {"total_count": len(found), "variables": found}


@route("POST", "/actions/variables", "variables:write")
def _add_variable(call: Call) -> Response:
    if call.json["name"] in call.repository.variables:
        raise ApiError(409, "Already exists - Variable already exists")
    call.repository.variables[call.json["name"]] = call.json["value"]
    return as_json({}, 201)


@route("GET", "/actions/variables/{variable}", "variables:read")
def _variable(call: Call) -> dict[str, str]:
    name = call.arguments["variable"]
    if name not in call.repository.variables:
        raise ApiError(404, "Not Found")
    return {"name": name, "value": call.repository.variables[name]}


@route("PATCH", "/actions/variables/{variable}", "variables:write")
def _change_variable(call: Call) -> Response:
    name = _variable(call)["name"]
    call.repository.variables[name] = call.json["value"]
    return Response(204)


@route("GET", "/actions/organization-variables", "variables:read")
def _shared_variables(call: Call) -> dict[str, Any]:
    shared = call.repository.organization
    found = [{"name": name, "value": value} for name, value in shared.variables.items()] if shared else []
    return {"total_count": len(found), "variables": found}


@route("GET", "/actions/secrets", "secrets:read")
def _secrets(call: Call) -> dict[str, Any]:
    return _names(call.repository.secrets)


@route("GET", "/actions/organization-secrets", "secrets:read")
def _shared_secrets(call: Call) -> dict[str, Any]:
    return _names(call.repository.organization.secrets if call.repository.organization else {})


def _names(secrets: dict[str, str]) -> dict[str, Any]:
    """What GitHub shows of secrets: never a value."""
    return {"total_count": len(secrets), "secrets": [{"name": name} for name in secrets]}


@route("GET", "/actions/secrets/public-key", "secrets:read")
def _key(_: Call) -> dict[str, str]:
    return PUBLIC_KEY


@route("PUT", "/actions/secrets/{secret}", "secrets:write")
def _set_secret(call: Call) -> Response:
    return _seal(call, call.repository.secrets)


def _seal(call: Call, secrets: dict[str, str]) -> Response:
    """Keep a secret as it came, sealed: the stand-in cannot open it, so a test says what a job shall read."""
    name = call.arguments["secret"]
    if call.json["key_id"] != PUBLIC_KEY["key_id"] or len(b64decode(call.json["encrypted_value"])) < SEAL_BYTES:
        raise ApiError(422, "Bad request - the value is not sealed with the repository's key")
    created = name not in secrets
    secrets[name] = call.json["encrypted_value"]
    return as_json({}, 201) if created else Response(204)


@route("GET", "/actions/permissions", "administration:read")
def _permissions(_: Call) -> dict[str, Any]:
    return {"enabled": True, "allowed_actions": "all"}


@route("GET", "/actions/permissions/workflow", "administration:read")
def _workflow_permissions(call: Call) -> dict[str, Any]:
    repository = call.repository
    return {
        "default_workflow_permissions": repository.default_permissions,
        "can_approve_pull_request_reviews": repository.actions_may_open_pulls,
    }


@route("PUT", "/actions/permissions/workflow", "administration:write")
def _set_workflow_permissions(call: Call) -> Response:
    call.repository.default_permissions = call.json["default_workflow_permissions"]
    call.repository.actions_may_open_pulls = call.json["can_approve_pull_request_reviews"]
    return Response(204)


@route("GET", "/actions/permissions/fork-pr-contributor-approval", "administration:read")
def _approval_of_outsiders(call: Call) -> dict[str, str]:
    return {"approval_policy": call.repository.forks.get("approval_policy", "first_time_contributors")}


@route("GET", "/actions/permissions/fork-pr-workflows-private-repos", "administration:read")
def _private_forks(call: Call) -> dict[str, Any]:
    names = ("run_workflows_from_fork_pull_requests", "send_write_tokens_to_workflows", "send_secrets_and_variables",
             "require_approval_for_fork_pr_workflows")  # fmt: skip
    return {name: call.repository.forks.get(name, False) for name in names}


@route("PUT", "/actions/permissions/{setting}", "administration:write")
def _set_forks(call: Call) -> Response:
    private = call.arguments["setting"] == "fork-pr-workflows-private-repos"
    if private != call.repository.private or call.arguments["setting"] not in (
        "fork-pr-workflows-private-repos", "fork-pr-contributor-approval",
    ):  # fmt: skip
        raise ApiError(404, "Not Found")
    call.repository.forks |= call.json
    return Response(204)


@route("GET", "/environments/{environment}", "actions:read")
def _environment(call: Call) -> dict[str, Any]:
    found = _known(call)
    custom = {"protected_branches": False, "custom_branch_policies": True}
    return {
        "name": call.arguments["environment"],
        "deployment_branch_policy": custom if found.branches is not None else None,
        "protection_rules": found.rules,
    }


@route("PUT", "/environments/{environment}", "administration:write")
def _set_environment(call: Call) -> dict[str, Any]:
    """Make or change an environment; reviewers and waiting time that the body does not name are taken away."""
    rules.refuse_free_plan(call)
    environment = call.repository.environments.setdefault(call.arguments["environment"], Environment())
    custom = (call.json.get("deployment_branch_policy") or {}).get("custom_branch_policies")
    environment.branches = (environment.branches or ()) if custom else None
    wait = call.json.get("wait_timer")
    environment.rules = [{"type": "wait_timer", "wait_timer": wait}] if wait else []
    if reviewers := call.json.get("reviewers"):
        asked = [{"type": each["type"], "reviewer": {"id": each["id"]}} for each in reviewers]
        environment.rules.append({"type": "required_reviewers", "reviewers": asked})
    return {"name": call.arguments["environment"]}


@route("GET", "/environments/{environment}/secrets", "environments:read")
def _environment_secrets(call: Call) -> dict[str, Any]:
    return _names(_known(call).secrets)


@route("GET", "/environments/{environment}/secrets/public-key", "environments:read")
def _environment_key(call: Call) -> dict[str, str]:
    _known(call)
    return PUBLIC_KEY


@route("PUT", "/environments/{environment}/secrets/{secret}", "environments:write")
def _set_environment_secret(call: Call) -> Response:
    return _seal(call, _known(call).secrets)


@route("GET", "/environments/{environment}/deployment-branch-policies", "actions:read")
def _branch_policies(call: Call) -> dict[str, Any]:
    found = [_policy(branch) for branch in _known(call).branches or ()]
    return {"total_count": len(found), "branch_policies": found}


@route("POST", "/environments/{environment}/deployment-branch-policies", "administration:write")
def _add_branch_policy(call: Call) -> dict[str, Any]:
    environment = _known(call)
    if environment.branches is None:
        raise ApiError(404, "Not Found")  # GitHub knows a list of branches for custom policies alone
    environment.branches = (*environment.branches, call.json["name"])
    return _policy(call.json["name"])


@route("DELETE", "/environments/{environment}/deployment-branch-policies/{number}", "administration:write")
def _delete_branch_policy(call: Call) -> Response:
    environment = _known(call)
    environment.branches = tuple(each for each in environment.branches or () if _policy(each)["id"] != call.number)
    return Response(204)


def _policy(branch: str) -> dict[str, Any]:
    return {"id": crc32(branch.encode()), "name": branch, "type": "branch"}


def _known(call: Call) -> Environment:
    if call.arguments["environment"] not in call.repository.environments:
        raise ApiError(404, "Not Found")
    return call.repository.environments[call.arguments["environment"]]


@route("GET", "/codeowners/errors", "contents:read")
def _codeowners_errors(_: Call) -> dict[str, Any]:
    return {"errors": []}


@route("GET", "/actions/runners", "administration:read")
def _runners(call: Call) -> dict[str, Any]:
    return {"total_count": len(call.repository.runners), "runners": call.repository.runners}


@route("POST", "/actions/workflows/{workflow}/dispatches", "actions:write")
def _dispatch(call: Call) -> Response:
    branch = call.json["ref"].removeprefix("refs/heads/")
    workflow = call.arguments["workflow"]
    if call.repository.read(f"refs/heads/{branch}", f".github/workflows/{workflow}") is None:
        raise ApiError(404, "Not Found")
    more = {"inputs": call.json.get("inputs", {}), "workflow": f".github/workflows/{workflow}"}
    event = events.on_branch(call.repository, call.token, "workflow_dispatch", ref=f"refs/heads/{branch}", **more)
    call.github.record(event)
    return Response(204)


@route("GET", "/actions/workflows/{workflow}/runs", "actions:read")
def _runs(call: Call) -> dict[str, Any]:
    """The runs of a workflow, newest first, filtered by `event`, `branch` and `status`."""
    path, query = f".github/workflows/{call.arguments['workflow']}", call.request.query
    ours = [run for run in reversed(call.repository.runs.values()) if run.path == path]
    ours = [run for run in ours if query.get("event", run.event.name) == run.event.name]
    told = [run.to_json() for run in ours if "branch" not in query or run.event.ref == f"refs/heads/{query['branch']}"]
    found = [run for run in told if query.get("status", run["status"]) in (run["status"], run["conclusion"])]
    return {"total_count": len(found), "workflow_runs": found[: int(query.get("per_page", 30))]}


@route("GET", "/actions/runs/{number}", "actions:read")
def _run(call: Call) -> dict[str, Any]:
    if call.number not in call.repository.runs:
        raise ApiError(404, "Not Found")
    return call.repository.runs[call.number].to_json()


@route("GET", "/actions/runs/{number}/jobs", "actions:read")
def _jobs(call: Call) -> dict[str, Any]:
    jobs = _run(call)["jobs"]
    return {"total_count": len(jobs), "jobs": jobs}
