"""Who am I."""

from ..events import user
from ..routes import FORBIDDEN, ApiError, as_json
from ..tokens import Token
from ..transport import Response


def who(token: Token, path: str) -> Response:
    """`GET /` (gh reads the token's scopes from it), `GET /user`, `GET /users/NAME`. A job's token is nobody."""
    scopes = {"X-OAuth-Scopes": "repo, read:org, workflow"} if token.kind == "user" else {}
    if path == "/":
        return as_json({"current_user_url": "https://api.github.com/user"}, headers=scopes)
    if path == "/user" and token.kind != "user":
        raise ApiError(403, FORBIDDEN)
    return as_json(user(token.login if path == "/user" else path.removeprefix("/users/")), headers=scopes)
