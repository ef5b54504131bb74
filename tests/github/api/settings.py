"""Settings of a repository's Actions: variables, secrets' names, permissions, runners; and dispatching a workflow."""

from typing import Any

from .. import events
from ..repository import Environment
from ..routes import ApiError, Call, route
from ..transport import Response


@route("GET", "/actions/variables", "variables:read")
def _variables(call: Call) -> dict[str, Any]:
    found = [{"name": name, "value": value} for name, value in call.repository.variables.items()]
    return {"total_count": len(found), "variables": found}


@route("GET", "/actions/variables/{variable}", "variables:read")
def _variable(call: Call) -> dict[str, str]:
    name = call.arguments["variable"]
    if name not in call.repository.variables:
        raise ApiError(404, "Not Found")
    return {"name": name, "value": call.repository.variables[name]}


@route("GET", "/actions/organization-variables", "variables:read")
def _shared_variables(call: Call) -> dict[str, Any]:
    shared = call.repository.organization
    found = [{"name": name, "value": value} for name, value in shared.variables.items()] if shared else []
    return {"total_count": len(found), "variables": found}


@route("GET", "/actions/secrets", "administration:read")
def _secrets(call: Call) -> dict[str, Any]:
    found = [{"name": name} for name in call.repository.secrets]
    return {"total_count": len(found), "secrets": found}


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


@route("GET", "/actions/permissions/fork-pr-contributor-approval", "administration:read")
def _approval_of_outsiders(_: Call) -> dict[str, str]:
    return {"approval_policy": "first_time_contributors"}


@route("GET", "/environments/{environment}", "actions:read")
def _environment(call: Call) -> dict[str, Any]:
    found = _known(call)
    custom = {"protected_branches": False, "custom_branch_policies": True}
    return {
        "name": call.arguments["environment"],
        "deployment_branch_policy": custom if found.branches is not None else None,
    }


@route("GET", "/environments/{environment}/deployment-branch-policies", "actions:read")
def _branch_policies(call: Call) -> dict[str, Any]:
    found = [{"name": branch, "type": "branch"} for branch in _known(call).branches or ()]
    return {"total_count": len(found), "branch_policies": found}


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
