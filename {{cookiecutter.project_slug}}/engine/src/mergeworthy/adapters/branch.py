"""A commit of one file on top of a branch of the remote, made without touching the checkout.

In CI GitHub makes the commit and signs it, so that a branch whose rules require signed commits takes it.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import UserError
from ..process import SILENCE, Deadline, call
from . import github
from .event import Event, current

BOT = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (
        ("NAME", "github-actions[bot]"),
        ("EMAIL", "41898282+github-actions[bot]@users.noreply.github.com"),
    )
}


def credentials(event: Event) -> dict[str, str]:
    """Return the environment of git: in CI the job's token and the bot's name; on a laptop nothing, git has its own."""
    return github.git_credentials(event) | BOT if event.name else {}


def fetch(branch: str, environment: Mapping[str, str]) -> str | None:
    """Return the remote branch's newest commit, fetched with its history; None if there is no such branch."""
    if not git("ls-remote", "--heads", "origin", f"refs/heads/{branch}", environment=environment):
        return None
    git("fetch", "--quiet", "origin", f"refs/heads/{branch}", environment=environment)
    return git("rev-parse", "FETCH_HEAD", environment=environment)


def commit(parent: str, path: Path, content: str, message: str, environment: Mapping[str, str]) -> str:
    """Return a new commit on `parent`, on no branch yet, in which `path` holds `content`; this repository has it."""
    event = current()
    prefix = git("rev-parse", "--show-prefix", environment=environment)  # files are named from the top
    if event.name:
        tree = git("rev-parse", f"{parent}^{{tree}}", environment=environment)
        made = github.commit(str(event.repository), parent, tree, f"{prefix}{path}", content, message)
        git("fetch", "--quiet", "origin", made, environment=environment)
        return made
    with tempfile.TemporaryDirectory() as folder:
        index = {**environment, "GIT_INDEX_FILE": f"{folder}/index"}
        blob = git("hash-object", "-w", "--stdin", environment=index, text=content)
        git("read-tree", parent, environment=index)
        git("update-index", "--add", "--cacheinfo", f"100644,{blob},{prefix}{path}", environment=index)
        tree = git("write-tree", environment=index)
        return git("commit-tree", tree, "-p", parent, "-m", message, environment=index)


def move(branch: str, tip: str, there: str | None, environment: Mapping[str, str], retire: Callable[[], None]) -> None:
    """Point a branch that only verbs write at `tip`; `there` is where it was, None if it is new.

    GitHub lets no token without the right to workflows move a branch between two commits whose workflow files differ,
    be it by a push, a merge or the API, but lets it create one. Then `retire` is called, for the pull request that
    goes with its branch, and the branch is deleted and created anew. Raise `UserError` if somebody else moved it.
    """
    ref = f"refs/heads/{branch}"
    try:
        # The lease keeps what another run wrote meanwhile.
        lease = f"--force-with-lease={ref}:{there or ''}"
        git("push", "--quiet", lease, "origin", f"{tip}:{ref}", environment=environment)
    except UserError as error:
        if there is None or "workflow" not in str(error):
            raise
        retire()
        git("push", "--quiet", f"--force-with-lease={ref}:{there}", "origin", f":{ref}", environment=environment)
        git("push", "--quiet", f"--force-with-lease={ref}:", "origin", f"{tip}:{ref}", environment=environment)


def git(*words: str, environment: Mapping[str, str], text: str | None = None) -> str:
    """Return what git prints; raise `UserError` with its reason if it fails."""
    deadline = Deadline.ANSWER if words[0] == "ls-remote" else Deadline.EXCHANGE
    done = call(
        ["git", *words], f"origin (git {words[0]})", deadline, text=text, environment={**SILENCE, **environment}
    )
    if done.returncode:
        raise UserError(f"git {words[0]} failed: {' '.join(done.stderr.split()) or 'no reason'}")
    return done.stdout.strip()
