"""git's smart HTTP protocol, served by git itself (`git http-backend`)."""

import os
import subprocess

from .repository import Repository
from .tokens import Token
from .transport import Request, Response

SERVICES = ("/info/refs", "/git-upload-pack", "/git-receive-pack")
_UNAUTHORISED = Response(401, {"WWW-Authenticate": 'Basic realm="GitHub"'}, b"")


def wants_to_push(request: Request) -> bool:
    """Whether a request is part of a push."""
    return request.path.endswith("/git-receive-pack") or request.query.get("service") == "git-receive-pack"


def serve(repository: Repository, request: Request, token: Token | None, service: str) -> Response:
    """Answer one request of the protocol; refuse pushes as GitHub refuses them."""
    pushing = wants_to_push(request)
    if pushing and token is None:
        return _UNAUTHORISED
    if pushing and token is not None and not token.allows(repository.full_name, "contents", "write"):
        return Response(403, {}, f"Permission to {repository.full_name}.git denied to {token.login}.\n".encode())
    if token is not None and token.kind != "user" and not token.allows(repository.full_name, "contents", "read"):
        return Response(404, {}, b"Repository not found.\n")
    return _backend(repository, request, token, service)


def _backend(repository: Repository, request: Request, token: Token | None, service: str) -> Response:
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(repository.path),
        "GIT_PROJECT_ROOT": str(repository.path),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": service,
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.query_string,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "REMOTE_ADDR": "127.0.0.1",
        "STANDIN_PROTECTED": " ".join(repository.protected),
        "STANDIN_SIGNED": " ".join(repository.signed),
    }
    if token is not None:
        environment |= {
            "REMOTE_USER": token.login,
            "STANDIN_BYPASS": str(int(token.bypass)),
            "STANDIN_WORKFLOWS": str(int(token.allows(repository.full_name, "workflows", "write"))),
        }
    done = subprocess.run(
        ["git", "http-backend"], input=request.body, env=environment, capture_output=True, check=False
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
    status = int(headers.pop("Status", "200").split(" ")[0]) if head else 500
    return Response(status, headers, body or done.stderr)
