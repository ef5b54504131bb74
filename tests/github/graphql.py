"""GraphQL plumbing: what `gh` sends is known by its operation's name; the answers are in `queries` and `mutations`."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .repository import Repository
from .routes import FORBIDDEN, ApiError, Call, as_json
from .selection import MissingFieldError, parse, prune
from .tokens import Token
from .transport import Request, Response

if TYPE_CHECKING:
    from .server import GitHub

Variables = dict[str, Any]
_OPERATIONS: dict[str, Callable[[Call, Variables], Any]] = {}


def operation(*names: str) -> Callable[[Callable[[Call, Variables], Any]], Callable[[Call, Variables], Any]]:
    """Register what answers the operations of these names."""

    def register(function: Callable[[Call, Variables], Any]) -> Callable[[Call, Variables], Any]:
        _OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return register


def answer(github: "GitHub", request: Request, token: Token) -> Response:
    """Answer a query; an unknown operation or field is recorded as such."""
    body = json.loads(request.body)
    variables = body.get("variables") or {}
    query = body["query"]
    match = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
    name = match[1] if match else ""
    try:
        call = Call(github, request, token, _repository(github, query, variables), {})
        data = _OPERATIONS[name](call, {**variables, "query text": query})
        return as_json({"data": prune(data, *parse(query))})
    except (KeyError, MissingFieldError) as error:
        github.unknown.append(f"GraphQL {name} ({error!r}): {' '.join(query.split())[:2000]} {variables}")
        return as_json({"message": "the stand-in does not offer this"}, 501)
    except ApiError as error:
        detail = {"type": "FORBIDDEN" if error.message == FORBIDDEN else "UNPROCESSABLE", "message": error.message}
        messages = [one["message"] for one in error.errors if isinstance(one, dict) and "message" in one]
        return as_json({"data": None, "errors": [detail | ({"message": messages[0]} if messages else {})]})


def _repository(github: "GitHub", query: str, variables: Variables) -> Repository:
    literal = re.search(r'repository\(owner:\s*"([^"]+)",\s*name:\s*"([^"]+)"', query)
    owner, name = variables.get("owner"), variables.get("name") or variables.get("repo")
    if literal or (owner and name):
        full_name = f"{literal[1]}/{literal[2]}" if literal else f"{owner}/{name}"
        if full_name not in github.repositories:
            raise ApiError(404, f"Could not resolve to a Repository with the name '{full_name}'.")
        return github.repositories[full_name]
    values = [variables, variables.get("input", {})]
    ids = re.findall(r"'(?:R|PR|I)_(\d+)", str(values))
    return next(
        (one for one in github.repositories.values() if str(one.id) in ids), next(iter(github.repositories.values()))
    )


def page(nodes: list[Any]) -> dict[str, Any]:
    """A connection, on one page."""
    return {"nodes": nodes, "totalCount": len(nodes), "pageInfo": {"hasNextPage": False, "endCursor": None}}
