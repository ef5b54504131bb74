"""The GraphQL mutations of `gh`: what its commands change."""

from typing import Any

from .api import issues, pulls
from .graphql import Variables, operation
from .queries import node
from .repository import Issue, PullRequest
from .routes import ApiError, Call


def _subject(call: Call, identifier: str) -> Issue:
    issue = call.repository.issues.get(int(identifier.rpartition("_")[2]))
    if issue is None:
        raise ApiError(404, "Could not resolve to a node")
    call.need(
        "write",
        "issues" if type(issue) is Issue else "pull-requests",
        *(["issues"] if type(issue) is PullRequest else []),
    )
    return issue


@operation("PullRequestCreate")
def _create_pull(call: Call, variables: Variables) -> Any:
    call.need("write", "pull-requests")
    given = variables["input"]
    pull = pulls.open_pull(
        call,
        given["title"],
        given.get("body", ""),
        given["headRefName"],
        given["baseRefName"],
        draft=given.get("draft", False),
    )
    return {"createPullRequest": {"pullRequest": node(call, pull)}}


@operation("IssueCreate")
def _create_issue(call: Call, variables: Variables) -> Any:
    call.need("write", "issues")
    given = variables["input"]
    issues.check_length(given.get("body", ""))
    labels = [label.removeprefix("LA_") for label in given.get("labelIds") or []]
    issue = Issue(
        len(call.repository.issues) + 1, call.token.login, given["title"], given.get("body", ""), labels=labels
    )
    call.repository.issues[issue.number] = issue
    return {"createIssue": {"issue": node(call, issue)}}


@operation("CommentCreate")
def _comment(call: Call, variables: Variables) -> Any:
    issue = _subject(call, variables["input"]["subjectId"])
    comment = issues.new_comment(call, issue, variables["input"]["body"])
    return {
        "addComment": {
            "commentEdge": {"node": {"url": issues.comment_json(call.repository, issue, comment)["html_url"]}}
        }
    }


@operation("PullRequestUpdate", "IssueUpdate")
def _update(call: Call, variables: Variables) -> Any:
    given = variables["input"]
    issue = _subject(call, given.get("pullRequestId") or given["id"])
    issues.check_length(given.get("body") or "")
    for key in ("title", "body"):
        if given.get(key) is not None:
            setattr(issue, key, given[key])
    return {"updatePullRequest": {"__typename": ""}, "updateIssue": {"__typename": ""}}


@operation("LabelAdd", "LabelRemove")
def _relabel(call: Call, variables: Variables) -> Any:
    issue = _subject(call, variables["input"]["labelableId"])
    given = [label.removeprefix("LA_") for label in variables["input"]["labelIds"]]
    kept = [label for label in issue.labels if label not in given]
    issue.labels = kept + (given if "addLabels" in variables["query text"] else [])
    return {"addLabelsToLabelable": {"__typename": ""}, "removeLabelsFromLabelable": {"__typename": ""}}


@operation("IssueClose", "IssueReopen", "PullRequestClose", "PullRequestReopen")
def _close(call: Call, variables: Variables) -> Any:
    given = variables["input"]
    issue = _subject(call, given.get("issueId") or given["pullRequestId"])
    issue.state = "closed" if "close" in variables["query text"].split("{")[1] else "open"
    return {"closeIssue": {"issue": {"id": ""}}, "reopenIssue": {"issue": {"id": ""}},
    "closePullRequest": {"pullRequest": {"id": ""}},
            "reopenPullRequest": {"pullRequest": {"id": ""}}}  # fmt: skip


@operation("PullRequestMerge")
def _merge(call: Call, variables: Variables) -> Any:
    call.need("write", "contents")
    pull = _subject(call, variables["input"]["pullRequestId"])
    assert isinstance(pull, PullRequest)
    pulls.merge_pull(call, pull, variables["input"].get("mergeMethod", "merge").lower())
    return {"mergePullRequest": {"clientMutationId": ""}}
