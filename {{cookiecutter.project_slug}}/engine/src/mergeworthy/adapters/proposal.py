"""The one pull request of a branch that only verbs write: opened, updated in place, replaced if its branch has to be.

GitHub lets no job's token move a branch between two commits whose workflow files differ (`release.commit.move`). The
branch is then deleted and created anew, which closes its pull request: a new one continues it, and both say so.
"""

from collections.abc import Sequence
from typing import Any

from ..render.markdown import within
from . import github

LIMIT = 60_000  # bytes of text in an issue or a pull request; GitHub refuses more than 65,536 characters
REPLACED = "<!-- replaced by the next one of this branch -->"  # so that its end is not read as a person's decision

Pull = dict[str, Any]


def fitted(text: str) -> str:
    """Return Markdown that fits into an issue or a pull request: pictures go first, then the last lines."""
    while len(text.encode()) > LIMIT and "```mermaid" in text:
        start = text.rindex("```mermaid")
        end = text.index("```", start + 3) + 3
        text = text[:start] + text[end:]
    if len(text.encode()) <= LIMIT:
        return text
    kept = "".join(within(LIMIT, text.splitlines(keepends=True)))
    return f"{kept}\n\nThe rest is left out here: it is longer than GitHub takes.\n"


def known(repository: str, branch: str) -> list[Pull]:
    """Return the pull requests that there ever were of a branch of this repository, newest first."""
    owner = repository.partition("/")[0]
    found: list[Pull] = github.api(f"repos/{repository}/pulls?state=all&head={owner}:{branch}&per_page=100")
    return sorted(found, key=lambda pull: pull["number"], reverse=True)


def opened(pulls: Sequence[Pull]) -> Pull | None:
    """Return the open one."""
    return next((pull for pull in pulls if pull["state"] == "open"), None)


def decided(pulls: Sequence[Pull]) -> list[Pull]:
    """Return those that were not replaced: what a person did to one of them is a decision."""
    return [pull for pull in pulls if not _is_replaced(pull)]


def retire(repository: str, pulls: Sequence[Pull]) -> None:
    """Close the open pull request as replaced, before its branch is deleted; the next run opens the new one."""
    pull = opened(pulls)
    if pull is None:
        return
    why = (
        "> **Replaced.** The workflow files of the default branch changed, and GitHub lets no job move this branch "
        "across such a change. A new pull request of the same branch continues this one."
    )
    body = {"body": f"{REPLACED}\n{why}\n\n{pull['body'] or ''}", "state": "closed"}
    github.api(f"repos/{repository}/pulls/{pull['number']}", method="PATCH", body=body)


def offer(repository: str, branch: str, base: str, title: str, body: str) -> tuple[int, bool]:
    """Open the pull request of a branch, or bring title and text up to date; return its number, and if it is new."""
    pulls = known(repository, branch)
    current = opened(pulls)
    before = next((pull for pull in pulls if pull["state"] != "open"), None)
    if before and _is_replaced(before):
        body = f"Continues #{before['number']}.\n\n{body}"
    at = f"repos/{repository}/pulls"
    if current:
        github.api(f"{at}/{current['number']}", method="PATCH", body={"title": title, "body": body})
        return int(current["number"]), False
    made = github.api(at, method="POST", body={"title": title, "body": body, "head": branch, "base": base})
    if before and _is_replaced(before):
        comment = {"body": f"Continued in #{made['number']}."}
        github.api(f"repos/{repository}/issues/{before['number']}/comments", method="POST", body=comment)
    return int(made["number"]), True


def _is_replaced(pull: Pull) -> bool:
    return (pull["body"] or "").startswith(REPLACED)
