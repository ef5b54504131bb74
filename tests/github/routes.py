"""REST plumbing: routes, permissions, errors, pages. The endpoints themselves are in `api/`."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .repository import Repository
from .tokens import Level, Token
from .transport import Request, Response

if TYPE_CHECKING:
    from .server import GitHub

DOCUMENTATION = "https://docs.github.com/rest"
FORBIDDEN = "Resource not accessible by integration"


class ApiError(Exception):
    """An answer that is not a success; `errors` are GitHub's details of a 422."""

    def __init__(self, status: int, message: str, errors: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.errors = status, message, list(errors)

    def response(self) -> Response:
        """The error in GitHub's JSON."""
        body = {"message": self.message, "documentation_url": DOCUMENTATION, "status": str(self.status)}
        return as_json(body | ({"errors": self.errors} if self.errors else {}), self.status)


@dataclass(frozen=True)
class Call:
    """One request on its way to an endpoint, with who asks and about which repository."""

    github: "GitHub"
    request: Request
    token: Token
    repository: Repository
    arguments: dict[str, str]

    @property
    def json(self) -> dict[str, Any]:
        """The request's body."""
        return dict(json.loads(self.request.body or b"{}"))

    @property
    def number(self) -> int:
        """The `{number}` of the path."""
        return int(self.arguments["number"])

    def need(self, level: Level, *permissions: str) -> None:
        """Refuse unless one of `permissions` is held."""
        if not any(self.token.allows(self.repository.full_name, permission, level) for permission in permissions):
            raise ApiError(403, FORBIDDEN)


Handler = Callable[[Call], Any]
_ROUTES: list[tuple[str, re.Pattern[str], str, Handler]] = []


def route(method: str, path: str, permission: str) -> Callable[[Handler], Handler]:
    """Register an endpoint: `{a}` is a segment, `{a*}` any number; `permission` is "checks:write", or "" to ask."""
    pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", path)
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)

    def register(handler: Handler) -> Handler:
        _ROUTES.append((method, re.compile(f"/repos/(?P<owner>[^/]+)/(?P<name>[^/]+){pattern}"), permission, handler))
        return handler

    return register


def dispatch(github: "GitHub", request: Request, token: Token) -> Response | None:
    """Answer a REST request; None where no such endpoint is known."""
    for method, pattern, permission, handler in _ROUTES:
        match = pattern.fullmatch(request.path)
        if match is None or method != request.method:
            continue
        arguments = match.groupdict()
        repository = github.repositories.get(f"{arguments.pop('owner')}/{arguments.pop('name')}")
        if repository is None:
            raise ApiError(404, "Not Found")
        call = Call(github, request, token, repository, arguments)
        if permission:
            name, _, level = permission.partition(":")
            call.need("write" if level == "write" else "read", name)
        result = handler(call)
        if isinstance(result, Response):
            return result
        return _page(request, result) if isinstance(result, list) else as_json(result)
    return None


def as_json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer; None is an empty one."""
    kind = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return Response(status, kind, b"" if body is None else json.dumps(body).encode())


def _page(request: Request, items: list[Any]) -> Response:
    size = min(int(request.query.get("per_page", 30)), 100)
    page = int(request.query.get("page", 1))
    last = max(1, -(-len(items) // size))
    rest = "&".join(f"{key}={value}" for key, value in request.query.items() if key != "page")
    base = f"https://{request.host}{request.path}?{rest}{'&' if rest else ''}page="
    links = [("next", page + 1), ("last", last)] if page < last else []
    links += [("prev", page - 1), ("first", 1)] if page > 1 else []
    header = ", ".join(f'<{base}{number}>; rel="{name}"' for name, number in links)
    return as_json(items[(page - 1) * size : page * size], 200, {"Link": header} if header else {})
