"""The one retraining pull request: found by its branch, opened, updated in place, closed when drift is gone."""

from collections.abc import Sequence
from typing import Any

from ...text import clean, prose
from .. import github
from ..drift.decision import Decision

BRANCH = "retrain/auto"
LIMIT = 60_000  # bytes of evidence in a pull request's text


def known(repository: str) -> list[dict[str, Any]]:
    """All retraining pull requests there ever were, newest first."""
    owner = repository.partition("/")[0]
    found: list[dict[str, Any]] = github.api(f"repos/{repository}/pulls?state=all&head={owner}:{BRANCH}&per_page=100")
    return sorted(found, key=lambda pull: pull["number"], reverse=True)


def propose(repository: str, pulls: Sequence[dict[str, Any]], decision: Decision, evidence: str) -> int:
    """Open the pull request, or bring its text up to date; give its number."""
    while len(evidence.encode()) > LIMIT and "```mermaid" in evidence:  # pictures go first
        start = evidence.rindex("```mermaid")
        end = evidence.index("```", start + 3) + 3
        evidence = evidence[:start] + evidence[end:]
    newest = decision.partitions[-1]
    body = {"title": f"Retrain with the data up to {clean(newest, 80)}", "body": evidence}
    opened = [pull for pull in pulls if pull["state"] == "open"]
    if opened:
        github.api(f"repos/{repository}/pulls/{opened[0]['number']}", method="PATCH", body=body)
        return int(opened[0]["number"])
    made = github.api(f"repos/{repository}/pulls", method="POST", body={**body, "head": BRANCH, "base": "main"})
    return int(made["number"])


def close(repository: str, pulls: Sequence[dict[str, Any]], why: str) -> int | None:
    """Close the open one with a comment that says why; give its number, None where there is none."""
    opened = [pull for pull in pulls if pull["state"] == "open"]
    if not opened:
        return None
    number = int(opened[0]["number"])
    comment = {"body": f"Drift is gone, so this is closed. {prose(why)}"}
    github.api(f"repos/{repository}/issues/{number}/comments", method="POST", body=comment)
    github.api(f"repos/{repository}/pulls/{number}", method="PATCH", body={"state": "closed"})
    return number
