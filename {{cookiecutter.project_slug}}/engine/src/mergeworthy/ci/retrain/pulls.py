"""The retraining pull request: what it says, and its end when drift is gone."""

from collections.abc import Sequence

from ...adapters import github, proposal
from ...adapters.proposal import Pull
from ...drift.decision import Decision
from ...text import clean, prose

BRANCH = "retrain/auto"


def propose(repository: str, base: str, decision: Decision, evidence: str) -> int:
    """Open the pull request, or bring its text up to date; return its number."""
    title = f"Retrain with the data up to {clean(decision.partitions[-1], 80)}"
    return proposal.offer(repository, BRANCH, base, title, proposal.fitted(evidence))[0]


def close(repository: str, pulls: Sequence[Pull], why: str) -> int | None:
    """Close the open one with a comment that says why; return its number, None if there is none."""
    pull = proposal.opened(pulls)
    if pull is None:
        return None
    comment = {"body": f"Drift is gone, so this is closed. {prose(why)}"}
    github.api(f"repos/{repository}/issues/{pull['number']}/comments", method="POST", body=comment)
    github.api(f"repos/{repository}/pulls/{pull['number']}", method="PATCH", body={"state": "closed"})
    return int(pull["number"])
