"""The branch of the retraining: main, and on top of it a data.dvc with the new partitions; updated in place."""

from collections.abc import Sequence

from ... import files
from ...errors import UserError
from ...paths import DATA_DVC, LOCK
from .. import git as repository
from ..data import fetch as accept
from ..dvc_cli import dvc
from ..event import Event
from ..release.commit import commit, credentials, fetch, git
from .pulls import BRANCH


def update(event: Event, partitions: Sequence[str], base: str = "main") -> tuple[str, bool]:
    """Accept the partitions, push them and the branch; give its commit, and whether it is still to be trained."""
    accept(partitions[-1])
    dvc("push", str(DATA_DVC))  # before the branch: what git names, the remote holds
    environment, wanted = credentials(event), files.read_text(DATA_DVC, "run `make data`")
    head, there = fetch(base, environment), fetch(BRANCH, environment)
    if head is None:
        raise UserError(f"the remote has no branch {base}: push it first")
    if there and repository.merge_base(there, head) == head and repository.read(there, DATA_DVC) == wanted:
        return there, repository.read(there, LOCK) == repository.read(head, LOCK)  # the last training came to nothing
    new = commit(head, DATA_DVC, wanted, f"Add the data up to {partitions[-1]}", environment)
    # The branch is the check's own; the lease keeps what another check wrote meanwhile.
    lease = f"--force-with-lease=refs/heads/{BRANCH}:{there or ''}"
    git("push", "--quiet", lease, "origin", f"{new}:refs/heads/{BRANCH}", environment=environment)
    return new, True
