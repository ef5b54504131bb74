"""Repositories, branches and commits, as far as clients ask for them."""

from typing import Any

from ..events import repository_json
from ..routes import ApiError, Call, route
from ..transport import Response


@route("GET", "", "contents:read")
def _repository(call: Call) -> dict[str, Any]:
    push = call.token.allows(call.repository.full_name, "contents", "write")
    admin = call.token.allows(call.repository.full_name, "administration", "write")
    return repository_json(call.repository) | {"permissions": {"admin": admin, "push": push, "pull": True}}


@route("GET", "/branches/{branch*}/protection", "administration:read")
def _protection(call: Call) -> dict[str, Any]:
    branch = call.arguments["branch"]
    if branch not in call.repository.protected:
        raise ApiError(404, "Branch not protected")
    contexts = list(call.repository.protected[branch])
    return {"required_status_checks": {"strict": False, "contexts": contexts}, "enforce_admins": {"enabled": False}}


@route("GET", "/rules/branches/{branch*}", "contents:read")
def _rules(call: Call) -> list[dict[str, Any]]:
    branch = call.arguments["branch"]
    if branch not in call.repository.protected:
        return []
    checks = [{"context": name} for name in call.repository.protected[branch]]
    required = {"type": "required_status_checks", "parameters": {"required_status_checks": checks}}
    return [{"type": "pull_request", "parameters": {}}, *([required] if checks else [])]


@route("GET", "/rulesets", "contents:read")
def _rulesets(call: Call) -> list[dict[str, Any]]:
    return [
        {"id": 1, "name": branch, "target": "branch", "enforcement": "active"} for branch in call.repository.protected
    ]


@route("GET", "/branches/{branch*}", "contents:read")
def _branch(call: Call) -> dict[str, Any]:
    name = call.arguments["branch"]
    sha = call.repository.branch(name)
    if sha is None:
        raise ApiError(404, "Branch not found")
    return {"name": name, "commit": {"sha": sha}, "protected": name in call.repository.protected}


@route("GET", "/commits/{ref}", "contents:read")
def _commit(call: Call) -> dict[str, Any]:
    sha = call.repository.git("rev-parse", "-q", "--verify", f"{call.arguments['ref']}^{{commit}}", check=False)
    if not sha:
        raise ApiError(422, f"No commit found for SHA: {call.arguments['ref']}")
    return {"sha": sha, "commit": {"message": call.repository.git("log", "-1", "--format=%B", sha)}}


@route("GET", "/git/ref/{ref*}", "contents:read")
def _ref(call: Call) -> dict[str, Any]:
    sha = call.repository.git("rev-parse", "-q", "--verify", f"refs/{call.arguments['ref']}", check=False)
    if not sha:
        raise ApiError(404, "Not Found")
    return {"ref": f"refs/{call.arguments['ref']}", "object": {"sha": sha, "type": "commit"}}


@route("DELETE", "/git/refs/{ref*}", "contents:write")
def _delete_ref(call: Call) -> Response:
    with call.repository.lock:
        before = call.repository.refs()
        call.repository.git("update-ref", "-d", f"refs/{call.arguments['ref']}")
        call.github.pushed(call.repository, before, call.token)
    return Response(204)
