"""Issues, comments and labels. A pull request is an issue too."""

from typing import Any

from ..events import SERVER, user
from ..repository import Comment, Issue, PullRequest, Repository, now
from ..routes import ApiError, Call, as_json, route
from ..transport import Response

LIMIT = 65_536  # characters in a body


def check_length(body: str) -> None:
    """Refuse a body that is too long, as GitHub does."""
    if len(body) > LIMIT:
        message = f"body is too long (maximum is {LIMIT} characters)"
        raise ApiError(
            422,
            "Validation Failed",
            [{"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": message}],
        )


def find(call: Call, level: str) -> Issue:
    """The issue of the path; for a pull request either permission is enough."""
    issue = call.repository.issues.get(call.number)
    if issue is None:
        raise ApiError(404, "Not Found")
    also = ("pull-requests",) if isinstance(issue, PullRequest) else ()
    call.need("write" if level == "write" else "read", "issues", *also)
    return issue


def comment_json(repository: Repository, issue: Issue, comment: Comment) -> dict[str, Any]:
    """A comment in GitHub's JSON."""
    kind = "pull" if isinstance(issue, PullRequest) else "issues"
    return {
        "id": comment.id, "node_id": f"IC_{comment.id}", "body": comment.body, "user": user(comment.author),
        "created_at": comment.created_at, "updated_at": comment.updated_at, "author_association": "MEMBER",
        "url": f"https://api.github.com/repos/{repository.full_name}/issues/comments/{comment.id}",
        "issue_url": f"https://api.github.com/repos/{repository.full_name}/issues/{issue.number}",
        "html_url": f"{SERVER}/{repository.full_name}/{kind}/{issue.number}#issuecomment-{comment.id}",
    }  # fmt: skip


def issue_json(repository: Repository, issue: Issue) -> dict[str, Any]:
    """An issue in GitHub's JSON; a pull request says so by its key `pull_request`."""
    kind = "pull" if isinstance(issue, PullRequest) else "issues"
    body = {
        "id": repository.id * 1000 + issue.number, "node_id": f"I_{repository.id}_{issue.number}",
        "number": issue.number,
        "title": issue.title, "body": issue.body, "state": issue.state, "user": user(issue.author),
        "labels": [{"name": label} for label in issue.labels], "comments": len(issue.comments),
        "created_at": issue.created_at,
        "html_url": f"{SERVER}/{repository.full_name}/{kind}/{issue.number}",
    }  # fmt: skip
    return body | ({"pull_request": {"html_url": body["html_url"]}} if kind == "pull" else {})


def new_comment(call: Call, issue: Issue, body: str) -> Comment:
    """Add a comment."""
    check_length(body)
    comment = Comment(call.github.next_id(), call.token.login, body)
    issue.comments.append(comment)
    return comment


@route("GET", "/issues", "issues:read")
def _list(call: Call) -> list[dict[str, Any]]:
    wanted, state = call.request.query.get("labels", ""), call.request.query.get("state", "open")
    found = [issue for issue in call.repository.issues.values() if state in ("all", issue.state)]
    found = [issue for issue in found if not wanted or set(wanted.split(",")) <= set(issue.labels)]
    return [issue_json(call.repository, issue) for issue in reversed(found)]


@route("POST", "/issues", "issues:write")
def _create(call: Call) -> Response:
    body = call.json
    check_length(body.get("body") or "")
    number = len(call.repository.issues) + 1
    issue = Issue(number, call.token.login, body["title"], body.get("body") or "", labels=list(body.get("labels", [])))
    call.repository.issues[number] = issue
    return as_json(issue_json(call.repository, issue), 201)


@route("GET", "/issues/{number}", "")
def _get(call: Call) -> dict[str, Any]:
    return issue_json(call.repository, find(call, "read"))


@route("PATCH", "/issues/{number}", "")
def _edit(call: Call) -> dict[str, Any]:
    issue = find(call, "write")
    for key in {"title", "body", "state", "labels"} & set(call.json):
        setattr(issue, key, call.json[key])
    return issue_json(call.repository, issue)


@route("GET", "/issues/{number}/comments", "")
def _comments(call: Call) -> list[dict[str, Any]]:
    issue = find(call, "read")
    return [comment_json(call.repository, issue, comment) for comment in issue.comments]


@route("POST", "/issues/{number}/comments", "")
def _comment(call: Call) -> Response:
    issue = find(call, "write")
    return as_json(comment_json(call.repository, issue, new_comment(call, issue, call.json["body"])), 201)


def _one_comment(call: Call) -> tuple[Issue, Comment]:
    for issue in call.repository.issues.values():
        for comment in issue.comments:
            if comment.id == call.number:
                return issue, comment
    raise ApiError(404, "Not Found")


@route("GET", "/issues/comments/{number}", "")
def _get_comment(call: Call) -> dict[str, Any]:
    return comment_json(call.repository, *_one_comment(call))


@route("PATCH", "/issues/comments/{number}", "")
def _edit_comment(call: Call) -> dict[str, Any]:
    issue, comment = _one_comment(call)
    call.need("write", "issues", *(("pull-requests",) if isinstance(issue, PullRequest) else ()))
    check_length(call.json["body"])
    comment.body, comment.updated_at = call.json["body"], now()
    return comment_json(call.repository, issue, comment)


@route("DELETE", "/issues/comments/{number}", "")
def _delete_comment(call: Call) -> Response:
    issue, comment = _one_comment(call)
    call.need("write", "issues", *(("pull-requests",) if isinstance(issue, PullRequest) else ()))
    issue.comments.remove(comment)
    return Response(204)
