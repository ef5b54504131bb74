"""Repositories, branches and commits, as far as clients ask for them."""

from time import time
from typing import Any

from ..events import repository_json
from ..routes import ApiError, Call, as_json, route
from ..transport import Response
from . import rules

SIGNATURE = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n GitHub's\n -----END PGP SIGNATURE-----\n"


@route("GET", "", "contents:read")
def _repository(call: Call) -> dict[str, Any]:
    push = call.token.allows(call.repository.full_name, "contents", "write")
    admin = call.token.allows(call.repository.full_name, "administration", "write")
    body = repository_json(call.repository) | {"permissions": {"admin": admin, "push": push, "pull": True}}
    return body | (rules.security(call.repository) if admin else {})


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


@route("POST", "/git/trees", "contents:write")
def _make_tree(call: Call) -> Response:
    """A tree like another one, but for these files."""
    index = {"GIT_INDEX_FILE": str(call.repository.path / f"index-{call.github.next_id()}")}
    call.repository.git("read-tree", call.json["base_tree"], environment=index)
    for entry in call.json["tree"]:
        blob = call.repository.git("hash-object", "-w", "--stdin", text=entry["content"])
        call.repository.git(
            "update-index", "--add", "--cacheinfo", f"{entry['mode']},{blob},{entry['path']}", environment=index
        )
    return as_json({"sha": call.repository.git("write-tree", environment=index)}, 201)


@route("POST", "/git/commits", "contents:write")
def _make_commit(call: Call) -> Response:
    """A commit on no branch. GitHub signs what a job or an App makes and names no author; here it is made up."""
    body, who = call.json, f"{call.token.login} <{call.token.login}@users.noreply.github.com> {int(time())} +0000"
    parents = "".join(f"parent {parent}\n" for parent in body["parents"])
    signed = call.token.kind != "user" and not {"author", "committer", "signature"} & set(body)
    head = f"tree {body['tree']}\n{parents}author {who}\ncommitter {who}\n{SIGNATURE if signed else ''}"
    sha = call.repository.git("hash-object", "-t", "commit", "-w", "--stdin", text=f"{head}\n{body['message']}\n")
    return as_json({"sha": sha, "verification": {"verified": signed}}, 201)


@route("DELETE", "/git/refs/{ref*}", "contents:write")
def _delete_ref(call: Call) -> Response:
    with call.repository.lock:
        before = call.repository.refs()
        call.repository.git("update-ref", "-d", f"refs/{call.arguments['ref']}")
        call.github.pushed(call.repository, before, call.token)
    return Response(204)
