"""What GitHub does with pull requests behind the scenes: head and merge refs, synchronisation, merging."""

from typing import Any

from . import events
from .events import SERVER, Event, repository_json, user
from .repository import PullRequest, Repository, now
from .tokens import Token


def refresh(base: Repository, head: Repository, pull: PullRequest) -> None:
    """Point refs/pull/N/head and refs/pull/N/merge at the truth; close a pull request whose head was deleted.

    A conflict leaves no merge ref.
    """
    sha = head.branch(pull.head)
    if sha is None:  # the branch was deleted, and its pull request is closed by that
        pull.state, pull.closed_at = "closed", now()
        return
    if head is not base:
        base.git("fetch", "-q", "--no-tags", str(head.path), sha)
    pull.head_sha = sha
    base.git("update-ref", f"refs/pull/{pull.number}/head", sha)
    pull.merge_sha = _merge(base, pull)
    merge_ref = f"refs/pull/{pull.number}/merge"
    base.git(*(("update-ref", merge_ref, pull.merge_sha) if pull.merge_sha else ("update-ref", "-d", merge_ref)))


def _merge(base: Repository, pull: PullRequest) -> str | None:
    onto = base.branch(pull.base)
    if onto is None:
        return None
    try:
        tree = base.git("merge-tree", "--write-tree", onto, pull.head_sha)
    except RuntimeError:  # git's exit status of a conflict
        return None
    return base.git("commit-tree", tree, "-p", onto, "-p", pull.head_sha, "-m", f"Merge {pull.head_sha} into {onto}")


def to_json(base: Repository, head: Repository, pull: PullRequest) -> dict[str, Any]:
    """A pull request in GitHub's JSON."""
    url = f"{SERVER}/{base.full_name}/pull/{pull.number}"
    return {
        "id": base.id * 1000 + pull.number, "node_id": f"PR_{base.id}_{pull.number}", "number": pull.number,
        "title": pull.title, "body": pull.body, "state": pull.state, "draft": pull.draft, "merged": pull.merged,
        "merge_commit_sha": pull.merge_sha, "mergeable": pull.merge_sha is not None, "user": user(pull.author),
        "labels": [{"name": label} for label in pull.labels], "html_url": url, "created_at": pull.created_at,
        "url": f"https://api.github.com/repos/{base.full_name}/pulls/{pull.number}",
        "author_association": "CONTRIBUTOR", "comments": len(pull.comments), "closed_at": pull.closed_at,
        "merged_at": pull.closed_at if pull.merged else None,
        "head": {"ref": pull.head, "sha": pull.head_sha, "label": f"{head.full_name.split('/')[0]}:{pull.head}",
                 "user": user(head.full_name.split("/")[0]), "repo": repository_json(head)},
        "base": {"ref": pull.base, "sha": base.branch(pull.base),
        "label": f"{base.full_name.split('/')[0]}:{pull.base}",
                 "user": user(base.full_name.split("/")[0]), "repo": repository_json(base)},
    }  # fmt: skip


def follow(base: Repository, head: Repository, pull: PullRequest, token: Token) -> Event | None:
    """Bring an open pull request up to date after a push to either side; the event, where its head moved."""
    before = pull.head_sha
    refresh(base, head, pull)
    if pull.head_sha == before or pull.merge_sha is None or pull.state == "closed":
        return None
    body = to_json(base, head, pull)
    return events.pull_request(base, token, pull, "synchronize", body, before=before, after=pull.head_sha)


def merge(base: Repository, pull: PullRequest, token: Token, method: str) -> None:
    """Merge a pull request into its base branch, in `token`'s name ("merge" or "squash")."""
    before, title = str(base.branch(pull.base)), f"{pull.title} (#{pull.number})\n\nMerged by {token.login}."
    parents = ["-p", before] + ([] if method == "squash" else ["-p", pull.head_sha])
    after = base.git("commit-tree", f"{pull.merge_sha}^{{tree}}", *parents, "-m", title)
    base.git("update-ref", f"refs/heads/{pull.base}", after, before)
    pull.state, pull.merged, pull.merge_sha, pull.closed_at = "closed", True, after, now()
