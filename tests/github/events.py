"""What happens on GitHub that may start workflows, and the rule of what does."""

from dataclasses import dataclass
from typing import Any, Literal

from .repository import ZERO, PullRequest, Repository
from .tokens import Token

Start = Literal["queued", "waiting", "suppressed"]
SERVER = "https://github.com"


@dataclass(frozen=True)
class Event:
    """One event. `state`: "queued" starts workflows, "waiting" waits for a person's click, "suppressed" starts nothing.

    `ref` and `sha` are `github.ref` and `github.sha` of the runs; `head_sha` is the commit that their checks show on.
    """

    name: str
    payload: dict[str, Any]
    repository: str
    ref: str
    sha: str
    head_sha: str
    actor: str
    state: Start = "queued"

    @property
    def fork(self) -> bool:
        """Whether the code comes from another repository: no secrets, no variables, a token that only reads."""
        head = (
            (self.payload.get("pull_request") or {}).get("head", {}).get("repo", {}).get("full_name", self.repository)
        )
        return self.name == "pull_request" and head != self.repository


def start_of(token: Token, name: str) -> Start:
    """GitHub's rule: what a job's token does starts nothing, save dispatches; its pull requests wait for a click."""
    if token.kind != "actions" or name in ("workflow_dispatch", "repository_dispatch"):
        return "queued"
    return "waiting" if name == "pull_request" else "suppressed"


def user(login: str) -> dict[str, Any]:
    """A person or a bot, in GitHub's JSON."""
    kind = "Bot" if login.endswith("[bot]") else "User"
    return {"login": login, "id": sum(map(ord, login)), "type": kind, "html_url": f"{SERVER}/{login}"}


def repository_json(repository: Repository) -> dict[str, Any]:
    """A repository, in GitHub's JSON."""
    owner, name = repository.full_name.split("/")
    return {
        "id": repository.id,
        "node_id": f"R_{repository.id}",
        "name": name,
        "full_name": repository.full_name,
        "owner": user(owner) | ({"type": "Organization"} if repository.organization else {}),
        "private": repository.private,
        "fork": repository.parent is not None,
        "default_branch": repository.default_branch,
        "html_url": f"{SERVER}/{repository.full_name}",
        "clone_url": f"{SERVER}/{repository.full_name}.git",
        "url": f"https://api.github.com/repos/{repository.full_name}",
    }


def push(repository: Repository, token: Token, ref: str, before: str | None, after: str | None) -> Event:
    """The push of one branch or tag."""
    old, new = before or ZERO, after or ZERO
    span = new if old == ZERO else f"{old}..{new}"
    listing = (
        "" if new == ZERO else repository.git("log", "--reverse", "--max-count=20", "--format=%H%x00%an%x00%s", span)
    )
    commits = [_commit(repository, line) for line in listing.splitlines()]
    forced = ZERO not in (old, new) and repository.git("merge-base", old, new, check=False) != old
    payload = {
        "ref": ref, "before": old, "after": new, "created": old == ZERO, "deleted": new == ZERO, "forced": forced,
        "compare": f"{SERVER}/{repository.full_name}/compare/{old[:12]}...{new[:12]}",
        "commits": commits, "head_commit": commits[-1] if commits else None, "base_ref": None,
        "repository": repository_json(repository), "pusher": {"name": token.login}, "sender": user(token.login),
    }  # fmt: skip
    return Event("push", payload, repository.full_name, ref, new, new, token.login, start_of(token, "push"))


def _commit(repository: Repository, line: str) -> dict[str, Any]:
    sha, author, message = line.split("\x00")
    paths: dict[str, list[str]] = {"A": [], "D": [], "M": []}
    for change in repository.git("show", "--format=", "--name-status", "--no-renames", sha).splitlines():
        status, path = change.split("\t", 1)
        paths.setdefault(status[0], []).append(path)
    return {"id": sha, "message": message, "author": {"name": author}, "added": paths["A"], "removed": paths["D"],
            "modified": paths["M"]}  # fmt: skip


def pull_request(
    repository: Repository, token: Token, pull: PullRequest, action: str, body: dict[str, Any], **more: str
) -> Event:
    """Something done to a pull request; `body` is the pull request in GitHub's JSON."""
    payload = {"action": action, "number": pull.number, "pull_request": body, "repository": repository_json(repository),
               "sender": user(token.login), **more}  # fmt: skip
    ref = f"refs/pull/{pull.number}/merge"
    state = start_of(token, "pull_request")
    return Event(
        "pull_request", payload, repository.full_name, ref, pull.merge_sha or ZERO, pull.head_sha, token.login, state
    )


def on_branch(repository: Repository, token: Token, name: str, **payload: Any) -> Event:
    """An event about the default branch or a dispatched one: workflow_dispatch, schedule, merge_group."""
    ref = payload.get("ref") or f"refs/heads/{repository.default_branch}"
    sha = repository.git("rev-parse", ref)
    body = {**payload, "repository": repository_json(repository), "sender": user(token.login)}
    return Event(name, body, repository.full_name, ref, sha, sha, token.login, start_of(token, name))
