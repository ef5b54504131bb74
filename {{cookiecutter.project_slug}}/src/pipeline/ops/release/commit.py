"""A commit of one file on top of a branch of the remote, made without touching the checkout, pushed without force."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from ...errors import UserError
from .. import github
from ..event import Event
from ..lock import BOT
from ..outside import SILENCE, Deadline, call


def credentials(event: Event) -> dict[str, str]:
    """In CI the job's token and the bot's name; on a laptop whatever git uses anyway."""
    return github.git_credentials(event) | BOT if event.name else {}


def fetch(branch: str, environment: Mapping[str, str]) -> str | None:
    """Give the remote branch's newest commit, with its history; None where there is no such branch."""
    if not git("ls-remote", "--heads", "origin", f"refs/heads/{branch}", environment=environment):
        return None
    git("fetch", "--quiet", "origin", f"refs/heads/{branch}", environment=environment)
    return git("rev-parse", "FETCH_HEAD", environment=environment)


def commit(parent: str, path: Path, content: str, message: str, environment: Mapping[str, str]) -> str:
    """Give a new commit on `parent` in which `path` holds `content`."""
    with tempfile.TemporaryDirectory() as folder:
        index = {**environment, "GIT_INDEX_FILE": f"{folder}/index"}
        blob = git("hash-object", "-w", "--stdin", environment=index, text=content)
        git("read-tree", parent, environment=index)
        git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", environment=index)
        tree = git("write-tree", environment=index)
        return git("commit-tree", tree, "-p", parent, "-m", message, environment=index)


def git(*words: str, environment: Mapping[str, str], text: str | None = None) -> str:
    """Run git; raise `UserError` with its last words where it fails."""
    deadline = Deadline.ANSWER if words[0] == "ls-remote" else Deadline.EXCHANGE
    done = call(
        ["git", *words], f"origin (git {words[0]})", deadline, text=text, environment={**SILENCE, **environment}
    )
    if done.returncode:
        raise UserError(f"git {words[0]} failed: {' '.join(done.stderr.split()) or 'no reason'}")
    return done.stdout.strip()
