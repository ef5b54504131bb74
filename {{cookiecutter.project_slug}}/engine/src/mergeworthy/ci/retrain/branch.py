"""The branch of the retraining: the default branch, and on top of it a data.dvc with the new partitions."""

from collections.abc import Callable, Sequence

from ... import files
from ...adapters import git as repository
from ...adapters.branch import commit, credentials, fetch, move
from ...adapters.dvc_cli import dvc
from ...adapters.event import Event
from ...data.fetch import fetch as accept
from ...errors import UserError
from ...paths import DATA_DVC, LOCK
from .pulls import BRANCH


def update(event: Event, partitions: Sequence[str], base: str, retire: Callable[[], None]) -> tuple[str, bool]:
    """Accept the partitions, push them and the branch; return its commit, and whether it is still to be trained.

    `retire` is called if the branch has to be created anew, before that closes its pull request.
    """
    accept(partitions[-1])
    dvc("push", str(DATA_DVC))  # before the branch: what git names, the remote holds
    environment, wanted = credentials(event), files.read_text(DATA_DVC, "run `make data`")
    head, there = fetch(base, environment), fetch(BRANCH, environment)
    if head is None:
        raise UserError(f"the remote has no branch {base}: push it first")
    if there and repository.merge_base(there, head) == head and repository.read(there, DATA_DVC) == wanted:
        return there, repository.read(there, LOCK) == repository.read(head, LOCK)  # the last training came to nothing
    new = commit(head, DATA_DVC, wanted, f"Add the data up to {partitions[-1]}", environment)
    move(BRANCH, new, there, environment, retire)
    return new, True
