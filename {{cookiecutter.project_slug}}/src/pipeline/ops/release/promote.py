"""Production changes by a reviewed pull request that carries staging's release over; one branch, updated in place."""

from ...errors import UserError
from .. import git as repository
from .. import github
from ..event import Event, current
from ..report.markdown import DASH, code, table
from .commit import commit, credentials, fetch, git
from .overlay import Release, path, read, text

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
    branch = _branch(head, staged, environment)
    if event.repository is None:
        return f"{branch}: open a pull request from {BRANCH} to promote {staged.lock[:12]}"
    return f"{branch}, {_pull_request(event, staged, running, base)}"


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


def _pull_request(event: Event, staged: Release, running: Release | None, base: str) -> str:
    pulls = f"repos/{event.repository}/pulls"
    owner = (event.repository or "").partition("/")[0]
    open_ones = github.api(f"{pulls}?state=open&base={base}&head={owner}:{BRANCH}")
    body = {"title": f"Promote {staged.lock[:12]} to production", "body": _body(staged, running)}
    if open_ones:
        number = open_ones[0]["number"]
        github.api(f"{pulls}/{number}", method="PATCH", body=body)
        return f"pull request {number} is up to date"
    made = github.api(pulls, method="POST", body={**body, "head": BRANCH, "base": base})
    return f"pull request {made['number']} is open"


def _body(staged: Release, running: Release | None) -> str:
    names = ("commit", "lock", "data", "partition", "verdict", "digest")
    rows = [[name, code(getattr(running, name)) if running else DASH, code(getattr(staged, name))] for name in names]
    said = "Staging runs this model. A merge takes it to production, `git revert` of the merge takes it back."
    return f"{said}\n\n{table(['', 'Production now', 'After the merge'], rows)}\n"


def run() -> None:
    """Promote what staging runs."""
    print(promote())
