"""What the drift check calls for: a pull request with new data and a new model, an issue, or nothing."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from .. import config as settings
from .. import files
from ..adapters import actions, git, github
from ..adapters.actions import Event, current
from ..adapters.dvc import dvc
from ..adapters.github import Pull, commit_file, credentials, fetch_branch, move_branch
from ..config.gates import Drift
from ..data.fetch import fetch as accept
from ..drift.decision import Decision
from ..errors import UserError
from ..paths import DATA_DVC, DRIFT, LOCK
from ..text import clean, prose, say
from . import comment

# DOC ci.retrain.issue: Issues that the schedule keeps: each is opened once, kept up to date, and closed when its
# reason is gone.

DATA, CHECK, LABEL = "The data is broken", "The drift check does not succeed", "drift"


def keep_issue(repository: str, title: str, evidence: str | None) -> None:
    """Make the one issue of that title say what is wrong; None closes it."""
    listed = github.api(f"repos/{repository}/issues?state=open&labels={LABEL}&per_page=100")
    found = [one for one in listed if one["title"] == title and "pull_request" not in one]
    evidence = None if evidence is None else github.fitted(evidence)
    if evidence is None:
        for one in found:
            github.api(f"repos/{repository}/issues/{one['number']}", method="PATCH", body={"state": "closed"})
    elif found:
        github.api(f"repos/{repository}/issues/{found[0]['number']}", method="PATCH", body={"body": evidence})
    else:
        body = {"title": title, "body": evidence, "labels": [LABEL]}
        github.api(f"repos/{repository}/issues", method="POST", body=body)


# DOC ci.retrain.manners: When a retraining is called for and nothing is done about it: somebody said so, or the last
# one is not long ago.

STOP = "no-retraining"  # the label; on the newest retraining pull request, open or closed


def skip_reason(pulls: Sequence[dict[str, Any]], policy: Drift, now: datetime) -> str | None:
    """Say why nothing is to be done; None where it is. `pulls` are those that a person decided on, newest first."""
    newest = next(iter(pulls), None)
    if newest is None:
        return None
    if any(label["name"] == STOP for label in newest["labels"]):
        return f"Nothing is done: pull request {newest['number']} has the label {STOP}."
    if newest["state"] == "open" or not newest.get("closed_at"):
        return None
    over = datetime.fromisoformat(newest["closed_at"]) + timedelta(days=policy.cooldown_days)
    if now < over:
        how = "merged" if newest.get("merged_at") else "closed"
        return f"Nothing is done: pull request {newest['number']} was {how} lately, the next may come {over:%Y-%m-%d}."
    return None


# DOC ci.retrain.branch: The branch of the retraining: the default branch, and on top of it a data.dvc with the new
# partitions.


def update(event: Event, partitions: Sequence[str], base: str, retire: Callable[[], None]) -> tuple[str, bool]:
    """Accept the partitions, push them and the branch; return its commit, and whether it is still to be trained.

    `retire` is called if the branch has to be created anew, before that closes its pull request.
    """
    accept(partitions[-1])
    dvc("push", str(DATA_DVC))  # before the branch: what git names, the remote holds
    environment, wanted = credentials(event), files.read_text(DATA_DVC, "run `make data`")
    head, there = fetch_branch(base, environment), fetch_branch(BRANCH, environment)
    if head is None:
        raise UserError(f"the remote has no branch {base}: push it first")
    if there and git.merge_base(there, head) == head and git.read(there, DATA_DVC) == wanted:
        return there, git.read(there, LOCK) == git.read(head, LOCK)  # the last training came to nothing
    new = commit_file(head, DATA_DVC, wanted, f"Add the data up to {partitions[-1]}", environment)
    move_branch(BRANCH, new, there, environment, retire)
    return new, True


# DOC ci.retrain.pulls: The retraining pull request: what it says, and its end when drift is gone.

BRANCH = "retrain/auto"


def propose(repository: str, base: str, decision: Decision, evidence: str) -> int:
    """Open the pull request, or bring its text up to date; return its number."""
    title = f"Retrain with the data up to {clean(decision.partitions[-1], 80)}"
    return github.offer_pull(repository, BRANCH, base, title, github.fitted(evidence))[0]


def close(repository: str, pulls: Sequence[Pull], why: str) -> int | None:
    """Close the open one with a comment that says why; return its number, None if there is none."""
    pull = github.open_pull(pulls)
    if pull is None:
        return None
    comment = {"body": f"Drift is gone, so this is closed. {prose(why)}"}
    github.api(f"repos/{repository}/issues/{pull['number']}/comments", method="POST", body=comment)
    github.api(f"repos/{repository}/pulls/{pull['number']}", method="PATCH", body={"state": "closed"})
    return int(pull["number"])


# DOC ci.retrain.watch: `make watch`: a red check is nobody's pull request, so the second in a row opens an issue; a
# success closes it.

WORKFLOW, JOB = "drift.yaml", "check"


def watch() -> None:
    """Say whether the check before this one, which came to nothing, succeeded; where not, keep the issue."""
    event = current()
    if not event.name:
        print("on a laptop: whoever runs `make drift` sees whether it succeeds")
        return
    repository = str(event.repository)
    before = last(repository)
    if before is None:
        print("the check before succeeded, or there was none: nothing is said yet")
        return
    keep_issue(repository, CHECK, evidence(event, [before, os.environ["GITHUB_RUN_ID"]]))
    say(f"the check has not succeeded twice in a row: the issue {CHECK!r} says so")


def last(repository: str) -> str | None:
    """Give the number of the newest run that is over, where its check did not succeed; None else."""
    path = f"repos/{repository}/actions/workflows/{WORKFLOW}/runs"
    path += f"?branch={git.default_branch()}&status=completed&per_page=1"
    for one in github.api(path)["workflow_runs"]:
        jobs = github.api(f"repos/{repository}/actions/runs/{one['id']}/jobs?per_page=100")["jobs"]
        if not any(job["name"] == JOB and job["conclusion"] == "success" for job in jobs):
            return str(one["id"])
    return None


def evidence(event: Event, runs: list[str]) -> str:
    """Name the runs, and what the jobs of the last one said."""
    links = ", ".join(f"[run {one}]({event.server}/{event.repository}/actions/runs/{one})" for one in runs)
    head = f"The drift check has not succeeded twice in a row: {links}. Until it does, nobody looks at what comes in."
    return "\n\n".join([head, *comment.describe_failures(github.failures(event))]) + "\n"


# DOC ci.retrain.__init__: `make retrain`: what a drift decision leads to on GitHub; every step can be repeated with
# the same result.

FIX = "run `make drift`"


def retrain() -> None:
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
    keep_issue(str(event.repository), CHECK, None)  # this one succeeded
    say(said)
    actions.summarise(f"{evidence}\n{prose(said)}\n")
    actions.outputs(**made)


def follow(event: Event, decision: Decision, evidence: str) -> tuple[str, dict[str, str]]:
    """Do what the outcome asks for; give a sentence, and commit, branch and pull request where one is to be trained."""
    repository = str(event.repository)
    keep_issue(repository, DATA, evidence if decision.outcome == "broken" else None)
    if decision.outcome == "broken":
        return decision.sentence, {}
    known = github.known_pulls(repository, BRANCH)
    if decision.outcome == "quiet":
        closed = close(repository, known, decision.sentence)
        return f"{decision.sentence}{f' Pull request {closed} is closed.' if closed else ''}", {}
    if silence := skip_reason(github.decided_pulls(known), settings.gates().drift, datetime.now(UTC)):
        return f"{decision.sentence} {silence}", {}
    base = git.default_branch()
    if not github.open_pull(known):
        github.require_pull_requests(event, base)
    commit, fresh = update(event, decision.partitions, base, lambda: github.retire_pull(repository, known))
    number = propose(repository, base, decision, evidence)
    told = f"{decision.sentence} Pull request {number} {'carries the new data' if fresh else 'has it already'}."
    return told, {"commit": commit, "branch": BRANCH, "pull-request": str(number)} if fresh else {}
