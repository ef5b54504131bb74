"""Who am I."""

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
