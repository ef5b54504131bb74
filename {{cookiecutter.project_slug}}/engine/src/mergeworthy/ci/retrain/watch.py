"""`make watch`: a red check is nobody's pull request, so the second in a row opens an issue; a success closes it."""

import os

from ...adapters import git, github
from ...adapters.event import Event, current
from ...text import say
from .. import failure as trouble
from . import issue

WORKFLOW, JOB = "drift.yaml", "check"


def run() -> None:
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
    issue.keep(repository, issue.CHECK, evidence(event, [before, os.environ["GITHUB_RUN_ID"]]))
    say(f"the check has not succeeded twice in a row: the issue {issue.CHECK!r} says so")


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
    return "\n\n".join([head, *trouble.told(github.failures(event))]) + "\n"
