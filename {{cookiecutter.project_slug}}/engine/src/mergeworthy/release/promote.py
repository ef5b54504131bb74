"""Production changes by a reviewed pull request that carries staging's release over; one branch, updated in place."""

from collections.abc import Callable

from ..adapters import git as repository
from ..adapters import github, proposal
from ..adapters.branch import commit, credentials, fetch, move
from ..adapters.event import current
from ..errors import UserError
from ..render.markdown import DASH, code, table
from ..text import say
from .overlay import Release, path, read, text
from .status import history

BRANCH = "promote/production"


def promote() -> str:
    """Bring the branch and its pull request up to date with staging, and say in a sentence what came of it."""
    event, base = current(), repository.default_branch()
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
    if event.repository is None:
        branch = _branch(head, staged, environment, lambda: None)
        return f"{branch}: open a pull request from {BRANCH} to promote {staged.lock[:12]}"
    at, pulls = event.repository, proposal.known(event.repository, BRANCH)
    closed = [one for one in proposal.decided(pulls) if one["state"] == "closed" and not one["merged_at"]]
    if refused := [one["number"] for one in closed if staged.commit in (one["body"] or "")]:
        return f"pull request {refused[0]} offered this release and was closed: reopen it to promote"
    if not proposal.opened(pulls):
        github.require_pull_requests(event, base)
    branch = _branch(head, staged, environment, lambda: proposal.retire(at, pulls))
    title = f"Promote {staged.lock[:12]} to production"
    number, fresh = proposal.offer(at, BRANCH, base, title, _body(staged, running))
    return f"{branch}, pull request {number} {'is open' if fresh else 'is up to date'}"


def _branch(head: str, staged: Release, environment: dict[str, str], retire: Callable[[], None]) -> str:
    there, file = fetch(BRANCH, environment), path("production")
    wanted = text(staged, "production")
    if there and repository.merge_base(there, head) == head and repository.read(there, file) == wanted:
        return f"{BRANCH} carries it already"
    new = commit(head, file, wanted, f"Promote {staged.lock[:12]} to production", environment)
    move(BRANCH, new, there, environment, retire)
    return f"{BRANCH} carries {staged.lock[:12]}"


def _body(staged: Release, running: Release | None) -> str:
    names = ("commit", "lock", "data", "partition", "verdict", "digest")
    rows = [[name, code(getattr(running, name)) if running else DASH, code(getattr(staged, name))] for name in names]
    said = "Staging runs this model. A merge takes it to production, `git revert` of the merge takes it back."
    return f"{said}\n\n{table(['', 'Production now', 'After the merge'], rows)}\n"


def run() -> None:
    """Promote what staging runs."""
    say(promote())
