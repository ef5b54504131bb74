"""Staging runs the newest released model: its overlay on main names it, and never goes back to an older one."""

from ..adapters import git as repository
from ..adapters.branch import commit, credentials, fetch, git
from ..adapters.event import current
from ..errors import UserError
from ..text import say
from . import made
from .overlay import Release, path, read, text

TRIES = 5  # pushes of others may come in between


def stage(release: Release) -> str:
    """Commit the release to staging's overlay on the default branch, and say in a sentence what came of it."""
    environment, file, branch = credentials(current()), path("staging"), repository.default_branch()
    for _ in range(TRIES):
        head = fetch(branch, environment)
        if head is None:
            raise UserError(f"the remote has no branch {branch}: push it first")
        there = read(repository.read(head, file), str(file))
        if there == release:
            return "staging runs this release already"
        if there and there.commit != release.commit and not repository.is_ancestor(there.commit, release.commit):
            return f"staging runs {there.commit[:12]}, which is not older than {release.commit[:12]}: left as it is"
        message = f"Staging runs {release.lock[:12]}\n\nModel of {release.commit}, image {release.digest}"
        new = commit(head, file, text(release, "staging"), message, environment)
        try:
            git("push", "--quiet", "origin", f"{new}:refs/heads/{branch}", environment=environment)
        except UserError as error:
            if fetch(branch, environment) == head:
                mend = "let the App whose key the environment `release` holds bypass the rule (README.md)"
                raise UserError(f"{branch} refuses the release ({error}): {mend}") from None
            continue
        return f"staging runs {release.lock[:12]} from now on ({new[:12]})"
    raise UserError(f"{branch} moved {TRIES} times while this tried to push: run the step again")


def run() -> None:
    """Stage the release that was just published."""
    say(stage(made.release()))
