"""Accounts: who am I, and what belongs to an account."""

import re
from typing import TYPE_CHECKING

from ..events import user
from ..routes import FORBIDDEN, ApiError, as_json
from ..tokens import Token
from ..transport import Response

if TYPE_CHECKING:
    from ..server import GitHub


def who(token: Token, path: str) -> Response:
    """`GET /` (gh reads the token's scopes from it), `GET /user`, `GET /users/NAME`. A job's token is nobody."""
    scopes = {"X-OAuth-Scopes": "repo, read:org, workflow"} if token.kind == "user" else {}
    if path == "/":
        return as_json({"current_user_url": "https://api.github.com/user"}, headers=scopes)
    if path == "/user" and token.kind != "user":
        raise ApiError(403, FORBIDDEN)
    return as_json(user(token.login if path == "/user" else path.removeprefix("/users/")), headers=scopes)


def package(github: "GitHub", token: Token, path: str) -> Response | None:
    """`GET /orgs/NAME/packages/container/PACKAGE`, or `/users/…`: the package of an image, and its repository."""
    match = re.fullmatch(r"/(?:orgs|users)/([^/]+)/packages/container/(.+)", path)
    if match is None:
        return None
    if token.kind == "user" and token.permissions.get("packages", "none") == "none":
        raise ApiError(403, "You need at least read:packages scope to get a package.")
    repository = github.repositories.get(f"{match[1]}/{match[2]}")
    if repository is None or repository.package is None:
        raise ApiError(404, "Package not found.")
    address = f"https://github.com{path}"
    return as_json({"name": match[2], "html_url": address, "repository": {"full_name": repository.package}})


def shared_runners(github: "GitHub", token: Token, path: str) -> Response | None:
    """`GET /orgs/NAME/actions/runners`, for those who administer a repository there."""
    owner, _, asked = path.removeprefix("/orgs/").partition("/")
    for repository in github.repositories.values():
        if asked == "actions/runners" and repository.organization and repository.full_name.startswith(f"{owner}/"):
            if not token.allows(repository.full_name, "administration", "read"):
                raise ApiError(403, FORBIDDEN)
            runners = repository.organization.runners
            return as_json({"total_count": len(runners), "runners": runners})
    return None
