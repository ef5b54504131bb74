"""Commit dvc.lock back to the branch that was trained: without force, and only where nobody pushed meanwhile."""

from ..errors import UserError
from ..paths import LOCK
from . import git, github, workflow
from .event import Event, current
from .outside import SILENCE, Deadline, call

BOT = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (
        ("NAME", "github-actions[bot]"),
        ("EMAIL", "41898282+github-actions[bot]@users.noreply.github.com"),
    )
}


def _git(*arguments: str, environment: dict[str, str]) -> str:
    who = f"origin (git {arguments[0]})"
    done = call(["git", *arguments], who, Deadline.EXCHANGE, environment=SILENCE | environment)
    if done.returncode:
        raise UserError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def push(event: Event) -> str | None:
    """Give the commit that now holds this lock, or None where the branch went on and its own run will judge it."""
    if git.read(event.commit, LOCK) == LOCK.read_text():
        return event.commit
    branch, environment = f"refs/heads/{event.branch}", github.git_credentials(event) | BOT
    _git("fetch", "--quiet", "origin", branch, environment=environment)
    head = _git("rev-parse", "FETCH_HEAD", environment=environment)
    if head != event.commit:
        parent = git.resolve(f"{head}^")
        same = parent == event.commit and git.read(head, LOCK) == LOCK.read_text()
        return head if same else None
    _git("add", str(LOCK), environment=environment)
    _git("commit", "--quiet", "--message", "Lock what was trained", environment=environment)
    made = _git("rev-parse", "HEAD", environment=environment)
    try:
        _git("push", "--quiet", "origin", f"{made}:{branch}", environment=environment)
    except UserError:
        # A push that came in between is the branch's own; anything else is a real failure.
        _git("fetch", "--quiet", "origin", branch, environment=environment)
        if _git("rev-parse", "FETCH_HEAD", environment=environment) != event.commit:
            return None
        raise
    return made


def run() -> None:
    """Commit and push, and tell the workflow which commit the verdict belongs to."""
    event = current()
    if not event.name:
        print("on a laptop: commit dvc.lock with your own change")
        return
    commit = push(event)
    if commit is None:
        print(f"{event.branch} moved on while this trained: its own run finds the training in the cache")
    elif commit == event.commit:
        print("dvc.lock was true already")
    else:
        print(f"dvc.lock is committed to {event.branch} as {commit[:12]}")
    workflow.outputs(commit=commit or "")
