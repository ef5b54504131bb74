"""May what is checked out be released? Only with a green verdict and a true lock, and only once."""

from dataclasses import dataclass

from .. import files
from ..adapters import git, github, workflow
from ..adapters.event import Event, current
from ..adapters.staleness import stale_stages
from ..container import content
from ..text import say
from .overlay import path, read


@dataclass(frozen=True)
class Plan:
    """`commit` to release, or None; and the reason in a sentence."""

    commit: str | None
    reason: str


def decide(event: Event) -> Plan:
    """Look at the newest commit that changed the image; a laptop has no verdict to ask for, only the lock."""
    commit, file = content.commit(), path("staging")
    if commit is None:
        return Plan(None, "nothing is committed yet")
    if stale := stale_stages():
        return Plan(None, f"dvc.lock is not true ({', '.join(stale)} would run), so there is no model to release")
    # What came after it is judged with it; only the releases' own commits carry no verdict.
    judged = git.newest(".", ":(exclude)deploy/overlays") or commit
    if event.name and not is_green(event, judged):
        return Plan(None, f"{judged[:12]} carries no green verdict; the run that gives it one is followed by a release")
    staged = read(files.read_text(file, "restore it from git"), str(file))
    if staged and staged.commit == commit:
        return Plan(None, f"staging runs {commit[:12]} already")
    return Plan(commit, f"{commit[:12]} is judged, and its dvc.lock is true")


def is_green(event: Event, commit: str) -> bool:
    """Return whether the jobs that judged the commit say success, all of them."""
    # A workflow that had nothing to judge, as the drift check on most days, leaves a skipped one beside it.
    return {run["conclusion"] for run in github.verdicts(event, commit)} - {"skipped"} == {"success"}


def run() -> None:
    """Print the plan, and hand the workflow the very commit to check out; none where there is nothing to release."""
    plan = decide(current())
    say(f"{'release' if plan.commit else 'nothing to release'}: {plan.reason}")
    workflow.outputs(head=(git.resolve("HEAD") or "") if plan.commit else "")
