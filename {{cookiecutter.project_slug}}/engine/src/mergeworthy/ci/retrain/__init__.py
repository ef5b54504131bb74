"""`make retrain`: what a drift decision leads to on GitHub; every step can be repeated with the same result."""

from datetime import UTC, datetime

from ... import config as settings
from ... import files
from ...adapters import git, github, proposal, workflow
from ...adapters.event import Event, current
from ...drift.decision import Decision
from ...paths import DRIFT
from ...text import prose, say
from . import branch, issue, manners, pulls

__all__ = ["follow", "run"]

FIX = "run `make drift`"


def run() -> None:
    """Act on `reports/drift.json`, and tell the workflow what to train, if anything."""
    decision = files.read_record(DRIFT, Decision, "a decision", FIX)
    event = current()
    if not event.name:
        newest = (
            f": `make data UNTIL={decision.partitions[-1]}`, then `make pipeline gate`" if decision.partitions else ""
        )
        say(f"on a laptop: {decision.outcome}{newest if decision.outcome == 'retrain' else ''}")
        return
    evidence = files.read_text(DRIFT.with_suffix(".md"), FIX)
    said, made = follow(event, decision, evidence)
    issue.keep(str(event.repository), issue.CHECK, None)  # this one succeeded
    say(said)
    workflow.summarise(f"{evidence}\n{prose(said)}\n")
    workflow.outputs(**made)


def follow(event: Event, decision: Decision, evidence: str) -> tuple[str, dict[str, str]]:
    """Do what the outcome asks for; give a sentence, and commit, branch and pull request where one is to be trained."""
    repository = str(event.repository)
    issue.keep(repository, issue.DATA, evidence if decision.outcome == "broken" else None)
    if decision.outcome == "broken":
        return decision.sentence, {}
    known = proposal.known(repository, pulls.BRANCH)
    if decision.outcome == "quiet":
        closed = pulls.close(repository, known, decision.sentence)
        return f"{decision.sentence}{f' Pull request {closed} is closed.' if closed else ''}", {}
    if silence := manners.silence(proposal.decided(known), settings.gates().drift, datetime.now(UTC)):
        return f"{decision.sentence} {silence}", {}
    base = git.default_branch()
    if not proposal.opened(known):
        github.require_pull_requests(event, base)
    commit, fresh = branch.update(event, decision.partitions, base, lambda: proposal.retire(repository, known))
    number = pulls.propose(repository, base, decision, evidence)
    told = f"{decision.sentence} Pull request {number} {'carries the new data' if fresh else 'has it already'}."
    return told, {"commit": commit, "branch": pulls.BRANCH, "pull-request": str(number)} if fresh else {}
