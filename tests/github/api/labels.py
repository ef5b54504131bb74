"""Labels of a repository and of its issues."""

from typing import Any

from ..routes import ApiError, Call, as_json, route
from ..transport import Response
from .issues import find


@route("GET", "/labels", "issues:read")
def _list(call: Call) -> list[dict[str, str]]:
    return list(call.repository.labels.values())


@route("POST", "/labels", "issues:write")
def _create(call: Call) -> Response:
    name = call.json["name"]
    if name in call.repository.labels:
        raise ApiError(422, "Validation Failed", [{"resource": "Label", "code": "already_exists", "field": "name"}])
    return as_json(create(call, name, call.json), 201)


def create(call: Call, name: str, body: dict[str, Any]) -> dict[str, str]:
    """Make or change a label."""
    label = {"name": name, "color": body.get("color", "ededed"), "description": body.get("description") or ""}
    label["node_id"] = label["id"] = f"LA_{name}"
    call.repository.labels[name] = label
    return label


@route("GET", "/labels/{label}", "issues:read")
def _one(call: Call) -> dict[str, str]:
    if call.arguments["label"] not in call.repository.labels:
        raise ApiError(404, "Not Found")
    return call.repository.labels[call.arguments["label"]]


@route("PATCH", "/labels/{label}", "issues:write")
def _change(call: Call) -> dict[str, str]:
    if call.arguments["label"] not in call.repository.labels:
        raise ApiError(404, "Not Found")
    return create(call, call.arguments["label"], call.json)


@route("GET", "/issues/{number}/labels", "")
def _of_issue(call: Call) -> list[dict[str, str]]:
    return [{"name": label} for label in find(call, "read").labels]


@route("POST", "/issues/{number}/labels", "")
def _add(call: Call) -> list[dict[str, str]]:
    issue = find(call, "write")
    issue.labels += [label for label in call.json["labels"] if label not in issue.labels]
    for label in issue.labels:
        call.repository.labels.setdefault(label, create(call, label, {}))
    return [{"name": label} for label in issue.labels]


@route("DELETE", "/issues/{number}/labels/{label}", "")
def _remove(call: Call) -> list[dict[str, str]]:
    issue = find(call, "write")
    if call.arguments["label"] not in issue.labels:
        raise ApiError(404, "Label does not exist")
    issue.labels.remove(call.arguments["label"])
    return [{"name": label} for label in issue.labels]
