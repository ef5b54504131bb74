"""Pull requests."""

from typing import Any

from .. import events
from .. import pulls as behind
from ..repository import PullRequest, now
from ..routes import ApiError, Call, as_json, route
from ..transport import Response
from .issues import check_length

PASSED = ("success", "skipped", "neutral")
NOT_PERMITTED = "GitHub Actions is not permitted to create or approve pull requests."


def open_pull(call: Call, title: str, body: str, head: str, base: str, *, draft: bool = False) -> PullRequest:
    """Open a pull request; `head` is "branch" or "owner:branch"."""
    repository = call.repository
    if call.token.kind == "actions" and not repository.actions_may_open_pulls:
        raise ApiError(403, NOT_PERMITTED)
    owner, _, branch = head.rpartition(":")
    source = next(
        (one for one in call.github.repositories.values()
         if (one is repository or one.parent == repository.full_name) and one.full_name.split("/")[0] == owner),
        repository,
    )  # fmt: skip
    check_length(body)
    if source.branch(branch) is None or repository.branch(base) is None:
        raise ApiError(422, "Validation Failed", [{"resource": "PullRequest", "code": "invalid", "field": "head"}])
    same = (source.full_name, branch, base)
    if any((pull.head_repository, pull.head, pull.base) == same and pull.state == "open" for pull in repository.pulls):
        message = f"A pull request already exists for {source.full_name.split('/')[0]}:{branch}."
        raise ApiError(422, "Validation Failed", [{"resource": "PullRequest", "code": "custom", "message": message}])
    number = len(repository.issues) + 1
    pull = PullRequest(
        number, call.token.login, title, body, head_repository=source.full_name, head=branch, base=base, draft=draft
    )
    repository.issues[number] = pull
    behind.refresh(repository, source, pull)
    if pull.head_sha == repository.branch(base):
        del repository.issues[number]
        raise ApiError(422, "Validation Failed", [{"message": f"No commits between {base} and {branch}"}])
    if pull.merge_sha:
        call.github.record(
            events.pull_request(repository, call.token, pull, "opened", call.github.pull_json(repository, pull))
        )
    return pull


def find(call: Call) -> PullRequest:
    """The pull request of the path."""
    pull = call.repository.issues.get(call.number)
    if not isinstance(pull, PullRequest):
        raise ApiError(404, "Not Found")
    return pull


@route("GET", "/pulls", "pull-requests:read")
def _list(call: Call) -> list[dict[str, Any]]:
    query = call.request.query
    state = query.get("state", "open")
    found = [
        call.github.pull_json(call.repository, pull)
        for pull in reversed(call.repository.pulls)
        if state in ("all", pull.state)
    ]
    found = [pull for pull in found if query.get("head", pull["head"]["label"]) == pull["head"]["label"]]
    return [pull for pull in found if query.get("base", pull["base"]["ref"]) == pull["base"]["ref"]]


@route("POST", "/pulls", "pull-requests:write")
def _create(call: Call) -> Response:
    body = call.json
    pull = open_pull(
        call, body["title"], body.get("body") or "", body["head"], body["base"], draft=body.get("draft", False)
    )
    return as_json(call.github.pull_json(call.repository, pull), 201)


@route("GET", "/pulls/{number}", "pull-requests:read")
def _get(call: Call) -> dict[str, Any]:
    return call.github.pull_json(call.repository, find(call))


@route("PATCH", "/pulls/{number}", "pull-requests:write")
def _edit(call: Call) -> dict[str, Any]:
    pull = find(call)
    check_length(call.json.get("body") or "")
    for key in {"title", "body", "state", "base"} & set(call.json):
        setattr(pull, key, call.json[key])
    pull.closed_at = (pull.closed_at or now()) if pull.state == "closed" else None
    return call.github.pull_json(call.repository, pull)


@route("GET", "/pulls/{number}/files", "pull-requests:read")
def _files(call: Call) -> list[dict[str, str]]:
    pull = find(call)
    listing = call.repository.git(
        "diff", "--name-status", "--no-renames", f"{call.repository.branch(pull.base)}...{pull.head_sha}"
    )
    words = {"A": "added", "D": "removed", "M": "modified"}
    return [{"filename": line.split("\t")[1], "status": words.get(line[0], "changed")} for line in listing.splitlines()]


def merge_pull(call: Call, pull: PullRequest, method: str) -> None:
    """Merge, unless there is a conflict or a required check is missing."""
    repository = call.repository
    passed = {one.name for one in repository.checks if one.head_sha == pull.head_sha and one.conclusion in PASSED}
    missing = sorted(set(repository.protected.get(pull.base, ())) - passed)
    if pull.state != "open" or pull.merge_sha is None:
        raise ApiError(405, "Pull Request is not mergeable")
    if missing and not call.token.bypass:
        raise ApiError(405, f'Required status check "{missing[0]}" is expected.')
    with repository.lock:
        before = repository.refs()
        behind.merge(repository, pull, call.token, method)
        call.github.pushed(repository, before, call.token)


@route("PUT", "/pulls/{number}/merge", "contents:write")
def _merge(call: Call) -> dict[str, Any]:
    pull = find(call)
    merge_pull(call, pull, call.json.get("merge_method", "merge"))
    return {"sha": pull.merge_sha, "merged": True, "message": "Pull Request successfully merged"}


@route("GET", "/commits/{sha}/pulls", "pull-requests:read")
def _of_commit(call: Call) -> list[dict[str, Any]]:
    return [
        call.github.pull_json(call.repository, pull)
        for pull in call.repository.pulls
        if pull.head_sha == call.arguments["sha"]
    ]
