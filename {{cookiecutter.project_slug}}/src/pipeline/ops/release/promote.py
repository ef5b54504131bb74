"""Production changes by a reviewed pull request that carries staging's release over; one branch, updated in place."""

from typing import Any

from ...errors import UserError
from ...text import say
from .. import git as repository
from .. import github
from ..event import Event, current
from ..report.markdown import DASH, code, table
from .commit import commit, credentials, fetch, git
from .overlay import Release, path, read, text
from .status import history

BRANCH = "promote/production"


def promote(base: str = "main") -> str:
    """Bring the branch and its pull request up to date with staging, and say in a sentence what came of it."""
    event = current()
    environment, file = credentials(event), path("production")
    head = fetch(base, environment)
    if head is None:
        raise UserError(f"the remote has no branch {base}: push it first")
    staged = read(repository.read(head, path("staging")), str(path("staging")))
    running = read(repository.read(head, file), str(file))
    if staged is None:
        return "nothing runs in staging yet, so there is nothing to promote"
    if staged == running:
        return "production runs what staging runs"
    if any(change.release == staged for change in history("production", head)):
        return "production ran this release before, and was taken back from it: revert the revert to promote it"
    pulls = _pulls(event, base)
    closed = [one for one in pulls if one["state"] == "closed" and not one["merged_at"]]
    if refused := [one["number"] for one in closed if staged.commit in (one["body"] or "")]:
        return f"pull request {refused[0]} offered this release and was closed: reopen it to promote"
    branch = _branch(head, staged, environment)
    if event.repository is None:
        return f"{branch}: open a pull request from {BRANCH} to promote {staged.lock[:12]}"
    return f"{branch}, {_offer(event, pulls, staged, running, base)}"


def _pulls(event: Event, base: str) -> list[dict[str, Any]]:
    """All pull requests that there were of the branch, newest first."""
    owner = (event.repository or "").partition("/")[0]
    query = f"state=all&base={base}&head={owner}:{BRANCH}&per_page=100"
    return github.api(f"repos/{event.repository}/pulls?{query}") if event.repository else []


def _branch(head: str, staged: Release, environment: dict[str, str]) -> str:
    there, file = fetch(BRANCH, environment), path("production")
    wanted = text(staged, "production")
    if there and repository.merge_base(there, head) == head and repository.read(there, file) == wanted:
        return f"{BRANCH} carries it already"
    new = commit(head, file, wanted, f"Promote {staged.lock[:12]} to production", environment)
    # The branch is the release's own; the lease keeps what another release wrote meanwhile.
    lease = f"--force-with-lease=refs/heads/{BRANCH}:{there or ''}"
    git("push", "--quiet", lease, "origin", f"{new}:refs/heads/{BRANCH}", environment=environment)
    return f"{BRANCH} carries {staged.lock[:12]}"


def _offer(event: Event, pulls: list[dict[str, Any]], staged: Release, running: Release | None, base: str) -> str:
    at = f"repos/{event.repository}/pulls"
    body = {"title": f"Promote {staged.lock[:12]} to production", "body": _body(staged, running)}
    if opened := [one["number"] for one in pulls if one["state"] == "open"]:
        github.api(f"{at}/{opened[0]}", method="PATCH", body=body)
        return f"pull request {opened[0]} is up to date"
    made = github.api(at, method="POST", body={**body, "head": BRANCH, "base": base})
    return f"pull request {made['number']} is open"


def _body(staged: Release, running: Release | None) -> str:
    names = ("commit", "lock", "data", "partition", "verdict", "digest")
    rows = [[name, code(getattr(running, name)) if running else DASH, code(getattr(staged, name))] for name in names]
    said = "Staging runs this model. A merge takes it to production, `git revert` of the merge takes it back."
    return f"{said}\n\n{table(['', 'Production now', 'After the merge'], rows)}\n"


def run() -> None:
    """Promote what staging runs."""
    say(promote())
