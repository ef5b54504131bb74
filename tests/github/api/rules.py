"""Rules of branches (rulesets, and the older branch protection) and GitHub's own security checks."""

from typing import Any

from ..repository import Repository, now
from ..routes import ApiError, Call, as_json, route
from ..transport import Response
from .checks import ACTIONS

UPGRADE = "Upgrade to GitHub Pro or make this repository public to enable this feature."
KINDS = {
    "creation", "update", "deletion", "required_linear_history", "merge_queue", "required_deployments",
    "required_signatures", "pull_request", "required_status_checks", "non_fast_forward",
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {  # which GitHub adds to what it is sent
    "pull_request": {"allowed_merge_methods": ["merge", "squash", "rebase"], "required_reviewers": []},
    "required_status_checks": {"do_not_enforce_on_create": False},
}
SECRET_SCANNING = ("secret_scanning", "secret_scanning_push_protection")


def refuse_free_plan(call: Call) -> None:
    """Refuse what GitHub Free has for public repositories alone."""
    if call.repository.private and call.repository.free:
        raise ApiError(403, UPGRADE)


@route("GET", "/branches/{branch*}/protection", "administration:read")
def _protection(call: Call) -> dict[str, Any]:
    branch = call.arguments["branch"]
    if branch not in call.repository.protected or call.repository.rulesets:
        raise ApiError(404, "Branch not protected")
    contexts = list(call.repository.protected[branch])
    reviews = {"require_code_owner_reviews": call.repository.code_owner_reviews, "required_approving_review_count": 1}
    return {
        "required_status_checks": {"strict": call.repository.up_to_date, "contexts": contexts},
        "required_pull_request_reviews": reviews, "enforce_admins": {"enabled": False},
    }  # fmt: skip


@route("GET", "/rules/branches/{branch*}", "contents:read")
def _rules(call: Call) -> list[dict[str, Any]]:
    """The rules that count for a branch, which need not exist."""
    refuse_free_plan(call)
    branch = call.arguments["branch"]
    if branch == call.repository.default_branch and call.repository.rulesets:
        active = [each for each in call.repository.rulesets.values() if each["enforcement"] == "active"]
        return [rule | {"ruleset_id": each["id"]} for each in active for rule in each["rules"]]
    if branch not in call.repository.protected:
        return []
    checks = [{"context": name, "integration_id": ACTIONS} for name in call.repository.protected[branch]]
    strict = {"strict_required_status_checks_policy": call.repository.up_to_date}
    required = {"type": "required_status_checks", "parameters": {"required_status_checks": checks, **strict}}
    reviews = {"require_code_owner_review": call.repository.code_owner_reviews, "required_approving_review_count": 1}
    return [{"type": "pull_request", "parameters": reviews}, *([required] if checks else [])]


@route("GET", "/rulesets", "contents:read")
def _rulesets(call: Call) -> list[dict[str, Any]]:
    """What a list shows of rulesets: neither rules nor conditions."""
    refuse_free_plan(call)
    names = ("id", "name", "target", "source_type", "source", "enforcement")
    return [{name: each[name] for name in names} for each in call.repository.rulesets.values()]


@route("GET", "/rulesets/{number}", "contents:read")
def _ruleset(call: Call) -> dict[str, Any]:
    """One ruleset; who may bypass it is shown to administrators alone."""
    found = call.repository.rulesets.get(call.number)
    if found is None:
        raise ApiError(404, "Not Found")
    admin = call.token.allows(call.repository.full_name, "administration", "write")
    return {name: value for name, value in found.items() if admin or name != "bypass_actors"}


@route("POST", "/rulesets", "administration:write")
def _add_ruleset(call: Call) -> Response:
    refuse_free_plan(call)
    if call.json["name"] in [each["name"] for each in call.repository.rulesets.values()]:
        raise ApiError(422, "Validation Failed", ["Name must be unique"])
    return as_json(_store(call, call.github.next_id()), 201)


@route("PUT", "/rulesets/{number}", "administration:write")
def _change_ruleset(call: Call) -> dict[str, Any]:
    _ruleset(call)
    return _store(call, call.number)


def _store(call: Call, number: int) -> dict[str, Any]:
    repository, body = call.repository, call.json
    for rule in body["rules"]:
        if rule["type"] not in KINDS or (rule["type"] == "merge_queue" and not repository.organization):
            raise ApiError(422, "Validation Failed", [f"Invalid rule '{rule['type']}'"])
        if rule["type"] in DEFAULTS:
            rule["parameters"] = {**DEFAULTS[rule["type"]], **rule["parameters"]}
    about = {"id": number, "source_type": "Repository", "source": repository.full_name, "updated_at": now()}
    repository.rulesets[number] = body | about
    _enforce(repository, body)
    return repository.rulesets[number]


def _enforce(repository: Repository, body: dict[str, Any]) -> None:
    """Let the stand-in's git and merges keep to a ruleset of the default branch."""
    rules = {rule["type"]: rule.get("parameters", {}) for rule in body["rules"]}
    repository.protected.pop(repository.default_branch, None)
    if body["enforcement"] != "active" or body["conditions"]["ref_name"]["include"] != ["~DEFAULT_BRANCH"]:
        return
    checks = rules.get("required_status_checks", {})
    contexts = tuple(each["context"] for each in checks.get("required_status_checks", []))
    repository.protected[repository.default_branch] = contexts
    repository.up_to_date = bool(checks.get("strict_required_status_checks_policy"))
    repository.code_owner_reviews = bool(rules.get("pull_request", {}).get("require_code_owner_review"))


def security(repository: Repository) -> dict[str, Any]:
    """What an administrator sees of the security checks in the repository's JSON."""
    status = {name: {"status": "enabled" if repository.security.get(name) else "disabled"} for name in SECRET_SCANNING}
    return {"security_and_analysis": status}


@route("PATCH", "", "administration:write")
def _change(call: Call) -> dict[str, Any]:
    """Switch secret scanning on or off, which is the one thing that is changed this way."""
    asked = call.json["security_and_analysis"]
    if call.repository.private and any(each["status"] == "enabled" for each in asked.values()):
        raise ApiError(422, "Secret scanning is not available for this repository.")
    call.repository.security |= {name: each["status"] == "enabled" for name, each in asked.items()}
    return security(call.repository)


@route("GET", "/vulnerability-alerts", "administration:read")
def _alerts(call: Call) -> Response:
    if not call.repository.security.get("alerts"):
        raise ApiError(404, "Vulnerability alerts are disabled.")
    return Response(204)


@route("PUT", "/vulnerability-alerts", "administration:write")
def _alerts_on(call: Call) -> Response:
    call.repository.security["alerts"] = True
    return Response(204)


@route("DELETE", "/vulnerability-alerts", "administration:write")
def _alerts_off(call: Call) -> Response:
    call.repository.security["alerts"] = False
    return Response(204)


@route("GET", "/private-vulnerability-reporting", "administration:read")
def _reports(call: Call) -> dict[str, bool]:
    if call.repository.private:
        raise ApiError(422, "Private vulnerability reporting is not available for private repositories.")
    return {"enabled": call.repository.security.get("reports", False)}


@route("PUT", "/private-vulnerability-reporting", "administration:write")
def _reports_on(call: Call) -> Response:
    call.repository.security["reports"] = _reports(call) is not None
    return Response(204)


@route("DELETE", "/private-vulnerability-reporting", "administration:write")
def _reports_off(call: Call) -> Response:
    call.repository.security["reports"] = False
    return Response(204)
