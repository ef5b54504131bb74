"""`make retrain` and `make watch`: what a drift check leads to on GitHub.

A decision leads to a pull request with new data, to an issue, or to nothing. Every step can be repeated with the same
result. The branch of the pull request is the default branch, and on top of it a data.dvc with the new partitions. Each
issue is opened once, kept up to date, and closed when its reason is gone.
"""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from .. import config as settings
from .. import files
from ..adapters import actions, dvc, git, github
from ..adapters.actions import Event, current
from ..adapters.github import Pull, commit_file, credentials, fetch_branch, move_branch
from ..config.gates import Drift
from ..data.fetch import fetch as accept
from ..drift.decision import Decision
from ..errors import UserError
from ..files import DATA_DVC, DRIFT, LOCK
from ..text import clean, prose, say
from . import comment

BRANCH = "retrain/auto"
OPT_OUT_LABEL = "no-retraining"  # on the newest retraining pull request, open or closed
ISSUE_LABEL = "drift"
BROKEN_DATA_ISSUE = "The data is broken"
FAILED_CHECK_ISSUE = "The drift check does not succeed"
WORKFLOW, JOB = "drift.yaml", "check"
REPEAT_CHECK = "run `make drift`"


def retrain() -> None:
    """Act on `reports/drift.json`, and write the outputs that name what the workflow is to train, if anything."""
    decision = files.read_record(DRIFT, Decision, "a decision", REPEAT_CHECK)
    event = current()
    if not event.name:
        command = ""
        if decision.outcome == "retrain" and decision.partitions:
            command = f": `make data UNTIL={decision.partitions[-1]}`, then `make pipeline gate`"
        say(f"on a laptop: {decision.outcome}{command}")
        return
    evidence = files.read_text(DRIFT.with_suffix(".md"), REPEAT_CHECK)
    sentence, outputs = follow(event, decision, evidence)
    keep_issue(str(event.repository), FAILED_CHECK_ISSUE, None)  # this check succeeded
    say(sentence)
    actions.summarise(f"{evidence}\n{prose(sentence)}\n")
    actions.outputs(**outputs)


def follow(event: Event, decision: Decision, evidence: str) -> tuple[str, dict[str, str]]:
    """Do what the outcome asks for; return a sentence, and the commit, branch and pull request that is to be trained.

    The second part is empty if nothing is to be trained.
    """
    repository = str(event.repository)
    keep_issue(repository, BROKEN_DATA_ISSUE, evidence if decision.outcome == "broken" else None)
    if decision.outcome == "broken":
        return decision.sentence, {}
    pulls = github.known_pulls(repository, BRANCH)
    if decision.outcome == "quiet":
        closed = close(repository, pulls, decision.sentence)
        return f"{decision.sentence}{f' Pull request {closed} is closed.' if closed else ''}", {}
    if reason := skip_reason(github.decided_pulls(pulls), settings.gates().drift, datetime.now(UTC)):
        return f"{decision.sentence} {reason}", {}
    base = git.default_branch()
    if not github.open_pull(pulls):
        github.require_pull_requests(event, base)
    commit, untrained = update(event, decision.partitions, base, lambda: github.retire_pull(repository, pulls))
    number = propose(repository, base, decision, evidence)
    if not untrained:
        return f"{decision.sentence} Pull request {number} has it already.", {}
    outputs = {"commit": commit, "branch": BRANCH, "pull-request": str(number)}
    return f"{decision.sentence} Pull request {number} carries the new data.", outputs


def skip_reason(pulls: Sequence[dict[str, Any]], policy: Drift, now: datetime) -> str | None:
    """Return why a retraining is skipped, the opt-out label or the cooldown; None if it is not skipped.

    `pulls` are the pull requests that were not replaced, newest first.
    """
    newest = next(iter(pulls), None)
    if newest is None:
        return None
    if any(label["name"] == OPT_OUT_LABEL for label in newest["labels"]):
        return f"Nothing is done: pull request {newest['number']} has the label {OPT_OUT_LABEL}."
    if newest["state"] == "open" or not newest.get("closed_at"):
        return None
    cooldown_end = datetime.fromisoformat(newest["closed_at"]) + timedelta(days=policy.cooldown_days)
    if now >= cooldown_end:
        return None
    action = "merged" if newest.get("merged_at") else "closed"
    return (
        f"Nothing is done: pull request {newest['number']} was {action} lately, "
        f"the next may come on {cooldown_end:%Y-%m-%d}."
    )


def update(event: Event, partitions: Sequence[str], base: str, retire: Callable[[], None]) -> tuple[str, bool]:
    """Accept the partitions, push them and the branch; return its commit, and if that is still to be trained.

    `retire` is called if the branch has to be created anew, before that closes its pull request.
    """
    accept(partitions[-1])
    dvc.execute("push", str(DATA_DVC))  # before the branch, so that the remote has what git names
    environment, data = credentials(event), files.read_text(DATA_DVC, "run `make data`")
    head, tip = fetch_branch(base, environment), fetch_branch(BRANCH, environment)
    if head is None:
        raise UserError(f"the remote has no branch {base}: push it first")
    if tip and git.merge_base(tip, head) == head and git.read(tip, DATA_DVC) == data:
        return tip, git.read(tip, LOCK) == git.read(head, LOCK)  # the same lock: the last training did not succeed
    new = commit_file(head, DATA_DVC, data, f"Add the data up to {partitions[-1]}", environment)
    move_branch(BRANCH, new, tip, environment, retire)
    return new, True


def propose(repository: str, base: str, decision: Decision, evidence: str) -> int:
    """Open the retraining pull request, or update its text; return its number."""
    title = f"Retrain with the data up to {clean(decision.partitions[-1], 80)}"
    return github.offer_pull(repository, BRANCH, base, title, github.fitted(evidence))[0]


def close(repository: str, pulls: Sequence[Pull], reason: str) -> int | None:
    """Close the open pull request with a comment that gives the reason; return its number, None if none is open."""
    pull = github.open_pull(pulls)
    if pull is None:
        return None
    body = {"body": f"Drift is gone, so this is closed. {prose(reason)}"}
    github.api(f"repos/{repository}/issues/{pull['number']}/comments", method="POST", body=body)
    github.api(f"repos/{repository}/pulls/{pull['number']}", method="PATCH", body={"state": "closed"})
    return int(pull["number"])


def keep_issue(repository: str, title: str, evidence: str | None) -> None:
    """Open or update the issue of that title with the evidence; close it if there is no evidence."""
    open_issues = github.api(f"repos/{repository}/issues?state=open&labels={ISSUE_LABEL}&per_page=100")
    numbers = [issue["number"] for issue in open_issues if issue["title"] == title and "pull_request" not in issue]
    if evidence is None:
        for number in numbers:
            github.api(f"repos/{repository}/issues/{number}", method="PATCH", body={"state": "closed"})
        return
    text = github.fitted(evidence)
    if numbers:
        github.api(f"repos/{repository}/issues/{numbers[0]}", method="PATCH", body={"body": text})
    else:
        body = {"title": title, "body": text, "labels": [ISSUE_LABEL]}
        github.api(f"repos/{repository}/issues", method="POST", body=body)


def watch() -> None:
    """Open or update the issue about failed checks if the drift check before this failed one failed too.

    A red check belongs to nobody's pull request, so the second in a row opens an issue; a success closes it.
    """
    event = current()
    if not event.name:
        print("on a laptop: whoever runs `make drift` sees if it succeeds")
        return
    repository = str(event.repository)
    failed_before = last_failed_run(repository)
    if failed_before is None:
        print("the check before this one succeeded, or there was none: no issue is opened yet")
        return
    keep_issue(repository, FAILED_CHECK_ISSUE, failure_evidence(event, [failed_before, os.environ["GITHUB_RUN_ID"]]))
    say(f"the check failed twice in a row: see the issue {FAILED_CHECK_ISSUE!r}")


def last_failed_run(repository: str) -> str | None:
    """Return the id of the newest completed run of the workflow if its check did not succeed, else None."""
    path = f"repos/{repository}/actions/workflows/{WORKFLOW}/runs"
    path += f"?branch={git.default_branch()}&status=completed&per_page=1"
    for run in github.api(path)["workflow_runs"]:
        jobs = github.api(f"repos/{repository}/actions/runs/{run['id']}/jobs?per_page=100")["jobs"]
        if not any(job["name"] == JOB and job["conclusion"] == "success" for job in jobs):
            return str(run["id"])
    return None


def failure_evidence(event: Event, runs: list[str]) -> str:
    """Return Markdown with links to the runs, and the errors of this run's failed jobs."""
    links = ", ".join(f"[run {run}]({event.server}/{event.repository}/actions/runs/{run})" for run in runs)
    head = (
        f"## ⛔ {FAILED_CHECK_ISSUE}\n\nIt failed twice in a row: {links}. Until it succeeds, new data is not checked."
    )
    next_step = "**Next**: Correct what the errors name. The next check that succeeds closes this issue."
    foot = f"<sub>commit {event.commit_link(event.commit)}</sub>"
    return "\n\n".join([head, next_step, *comment.describe_failures(github.failures(event)), foot]) + "\n"
