"""Commit dvc.lock to the branch that was trained: by the job's own token, without force, if nobody pushed meanwhile."""

from .. import files
from ..adapters import git as repository
from ..adapters import provenance, workflow
from ..adapters.branch import commit, credentials, fetch, git
from ..adapters.event import Event, current
from ..errors import UserError
from ..paths import LOCK
from ..text import say

MESSAGE = "Lock what was trained"


def push(event: Event) -> str | None:
    """Return the commit that holds this lock; None if the branch moved on, or is gone: its own run will judge it."""
    lock = files.read_text(LOCK, "run `make pipeline`")
    if repository.read(event.commit, LOCK) == lock and not provenance.to_be_recorded(event):
        return event.commit
    branch, environment = str(event.branch), credentials(event)
    head = fetch(branch, environment)
    if head is None:
        return None
    if head != event.commit:
        ours = repository.resolve(f"{head}^") == event.commit and repository.read(head, LOCK) == lock
        return head if ours else None
    made = commit(head, LOCK, lock, f"{MESSAGE}\n\n{provenance.trailers()}", environment)
    try:
        git("push", "--quiet", "origin", f"{made}:refs/heads/{branch}", environment=environment)
    except UserError:
        if fetch(branch, environment) != event.commit:
            return None  # a push that came in between
        raise
    git("reset", "--quiet", made, environment=environment)  # what follows in this job belongs to the new commit
    return made


def run() -> None:
    """Commit and push dvc.lock, and tell the workflow which commit the verdict belongs to."""
    event = current()
    if not event.name:
        print("on a laptop: commit dvc.lock with your own change")
        return
    made = push(event)
    if made is None:
        say(f"{event.branch} moved on while this trained: its own run finds the training in the cache")
    elif made == event.commit:
        print("dvc.lock is as the commit has it")
    else:
        say(f"dvc.lock is committed to {event.branch} as {made[:12]}")
    workflow.outputs(commit=made or "")
