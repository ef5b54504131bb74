"""Answers to the GraphQL operations of `gh`: each gives every field that any of its commands asks for."""

import re
from typing import Any

from .events import SERVER
from .graphql import Variables, operation, page
from .repository import CheckRun, Issue, PullRequest, Repository
from .routes import ApiError, Call

PULL_FIELDS = ("statusCheckRollup", "autoMergeRequest", "isInMergeQueue", "isMergeQueueEnabled")


def _repository(call: Call, repository: Repository) -> dict[str, Any]:
    owner, name = repository.full_name.split("/")
    write = call.token.allows(repository.full_name, "contents", "write")
    return {
        "id": f"R_{repository.id}", "name": name, "owner": {"login": owner, "id": f"U_{owner}"},
        "hasIssuesEnabled": True,
        "hasWikiEnabled": False, "description": "", "viewerPermission": "WRITE" if write else "READ", "parent": None,
        "nameWithOwner": repository.full_name, "url": f"{SERVER}/{repository.full_name}",
        "defaultBranchRef": {"name": repository.default_branch},
        "mergeCommitAllowed": True, "rebaseMergeAllowed": False, "squashMergeAllowed": True,
    }  # fmt: skip


def _check(check: CheckRun) -> dict[str, Any]:
    suite = {"workflowRun": {"workflow": {"name": ""}, "event": ""}}
    return {
        "__typename": "CheckRun", "name": check.name, "status": check.status.upper(), "detailsUrl": check.details_url,
        "conclusion": (check.conclusion or "").upper(), "checkSuite": suite, "isRequired": False,
        "startedAt": "2026-01-01T00:00:00Z", "completedAt": "2026-01-01T00:01:00Z",
    }  # fmt: skip


def node(call: Call, issue: Issue) -> dict[str, Any]:
    """An issue or a pull request, with all that is ever asked of one."""
    repository = call.repository
    comments = [
        {"id": f"IC_{one.id}", "author": {"login": one.author}, "body": one.body, "createdAt": one.created_at,
         "url": "",
         "authorAssociation": "MEMBER", "viewerDidAuthor": one.author == call.token.login, "reactionGroups": [],
         "includesCreatedEdit": one.updated_at != one.created_at, "isMinimized": False, "minimizedReason": ""}
        for one in issue.comments
    ]  # fmt: skip
    kind, prefix = ("pull", "PR") if isinstance(issue, PullRequest) else ("issues", "I")
    common: dict[str, Any] = {
        "__typename": "PullRequest" if kind == "pull" else "Issue", "id": f"{prefix}_{repository.id}_{issue.number}",
        "number": issue.number, "title": issue.title, "body": issue.body, "state": issue.state.upper(),
        "stateReason": "",
        "url": f"{SERVER}/{repository.full_name}/{kind}/{issue.number}", "author": {"login": issue.author},
        "comments": page(comments),
        "createdAt": issue.created_at, "updatedAt": issue.created_at, "closed": issue.state != "open",
        "assignees": page([]),
        "labels": page([_label(repository, label) for label in issue.labels]), "projectCards": page([]),
        "milestone": None,
        "reactionGroups": [], "projectItems": page([]),
    }  # fmt: skip
    return common | (_pull_only(call, issue) if isinstance(issue, PullRequest) else {})


def _pull_only(call: Call, pull: PullRequest) -> dict[str, Any]:
    owner, name = pull.head_repository.split("/")
    rollup = {"contexts": page([_check(check) for check in call.repository.checks if check.head_sha == pull.head_sha])}
    commit = {"nodes": [{"commit": {"statusCheckRollup": rollup, "oid": pull.head_sha}}], "totalCount": 1}
    return {
        "state": "MERGED" if pull.merged else pull.state.upper(), "isDraft": pull.draft, "baseRefName": pull.base,
        "headRefName": pull.head, "headRefOid": pull.head_sha, "headRepository": {"id": f"R_{pull.head_repository}",
        "name": name},
        "headRepositoryOwner": {"id": f"U_{owner}", "login": owner, "name": owner}, "reviewRequests": page([]),
        "reviews": page([]),
        "isCrossRepository": pull.head_repository != call.repository.full_name, "commits": commit,
        "statusCheckRollup": commit,
        "mergeable": "MERGEABLE" if pull.merge_sha else "CONFLICTING", "mergeStateStatus": "CLEAN", "additions": 0,
        "deletions": 0,
        "changedFiles": 0, "maintainerCanModify": True, "latestReviews": page([]), "files": page([]),
        "reviewDecision": "",
        "isInMergeQueue": False, "isMergeQueueEnabled": False, "autoMergeRequest": None,
    }  # fmt: skip


def _label(repository: Repository, name: str) -> dict[str, str]:
    return {"id": f"LA_{name}", "name": name, "color": "ededed", "description": ""} | repository.labels.get(name, {})


def _in_repository(call: Call, **fields: Any) -> dict[str, Any]:
    return {"repository": _repository(call, call.repository) | fields}


@operation("UserCurrent")
def _viewer(call: Call, _: Variables) -> Any:
    return {"viewer": {"login": call.token.login, "id": f"U_{call.token.login}"}}


@operation("PullRequest_fields", "PullRequest_fields2", "Issue_fields")
def _fields(_: Call, __: Variables) -> Any:
    names = {"fields": [{"name": name} for name in PULL_FIELDS]}
    return {
        "PullRequest": names,
        "StatusCheckRollupContextConnection": {"fields": []},
        "Issue": {"fields": [{"name": "stateReason"}]},
    }


@operation("RepositoryInfo", "RepositoryNetwork", "Repository_fields")
def _info(call: Call, _: Variables) -> Any:
    return _in_repository(call)


@operation("LabelList", "RepositoryLabelList")
def _labels(call: Call, _: Variables) -> Any:
    return _in_repository(call, labels=page([_label(call.repository, name) for name in call.repository.labels]))


@operation("RepositoryResolveMetadataIDs")
def _resolve(call: Call, variables: Variables) -> Any:
    asked = re.findall(r'(\w+):\s*label\(name:\s*"([^"]*)"\)', variables["query text"])
    return _in_repository(call, **{alias: _label(call.repository, name) for alias, name in asked})


@operation("PullRequestStatusChecks")
def _status_checks(call: Call, variables: Variables) -> Any:
    return {"node": node(call, call.repository.issues[int(variables["id"].rpartition("_")[2])])}


@operation("PullRequestByNumber", "PullRequestProjectItems", "IssueByNumber", "IssueProjectItems")
def _by_number(call: Call, variables: Variables) -> Any:
    number = variables.get("pr_number") or variables.get("number")
    issue = call.repository.issues.get(int(str(number)))
    if issue is None:
        raise ApiError(404, f"Could not resolve to a PullRequest with the number of {number}.")
    call.need("read", "issues", "pull-requests")
    return _in_repository(call, pullRequest=node(call, issue), issue=node(call, issue))


@operation("PullRequestList", "PullRequestForBranch")
def _pull_list(call: Call, variables: Variables) -> Any:
    call.need("read", "pull-requests")
    states = variables.get("state") or variables.get("states") or ["OPEN", "CLOSED", "MERGED"]
    head, base = variables.get("headBranch") or variables.get("headRefName"), variables.get("baseBranch")
    found = [node(call, pull) for pull in reversed(call.repository.pulls)]
    found = [
        one
        for one in found
        if one["state"] in states and head in (None, one["headRefName"]) and base in (None, one["baseRefName"])
    ]
    return _in_repository(call, pullRequests=page(found[: int(variables.get("limit", 100))]))


@operation("IssueList", "IssueSearch", "PullRequestSearch")
def _issue_search(call: Call, variables: Variables) -> Any:
    call.need("read", "issues")
    query = variables.get("query") or ""
    terms = dict(re.findall(r'(\w+):"?([^"\s]+)"?', query))
    words = [word.strip('"').lower() for word in query.split() if ":" not in word]
    wanted_type = PullRequest if terms.get("type") == "pr" else Issue
    found = [one for one in reversed(call.repository.issues.values()) if type(one) is wanted_type]
    state = terms.get("state") or ("" if query else (variables.get("states") or ["open"])[0].lower())
    found = [
        one for one in found if state in ("", one.state) and ("label" not in terms or terms["label"] in one.labels)
    ]
    found = [one for one in found if all(word in f"{one.title} {one.body}".lower() for word in words)]
    nodes = page([node(call, one) for one in found])
    return _in_repository(call, issues=nodes) | {"search": nodes | {"issueCount": len(found)}}
