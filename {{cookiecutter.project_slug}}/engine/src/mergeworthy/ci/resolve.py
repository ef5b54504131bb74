"""`make resolve`: two pull requests that train meet in dvc.lock; this branch takes the default branch's and goes on.

A lock is never merged by hand: it says what one training read and wrote. The merged parameters, code and data decide
what is out of date beside the other branch's lock, and only that is run again, here or by the pull request's own run.
"""

import subprocess

from ..adapters import git
from ..errors import UserError
from ..paths import DATA_DVC, LOCK
from ..process import SILENCE, Deadline, call
from ..text import say


def run() -> None:
    """Merge the default branch with its dvc.lock, and commit that; raise `UserError` if other files conflict.

    A merge that is under way is finished, whichever branch it is with.
    """
    if git.resolve("MERGE_HEAD") is None:
        _merge()
    theirs = git.resolve("MERGE_HEAD")
    if theirs is None:
        print("nothing conflicts: the default branch is merged")
        return
    _require_no_other(_git("diff", "--name-only", "--diff-filter=U", "--relative", "-z").split("\0"))
    lock = git.read(theirs, LOCK)
    if lock is None:
        _git("rm", "--quiet", "--force", "--ignore-unmatch", "--", str(LOCK))
    else:
        LOCK.write_text(lock)
        _git("add", "--", str(LOCK))
    _git("commit", "--quiet", "--no-edit")
    say(f"merged, with the {LOCK} of {theirs[:12]}: what is out of date beside it is to be run again")


def _require_no_other(conflicts: list[str]) -> None:
    others = sorted(set(conflicts) - {"", str(LOCK)})
    if not others:
        return
    hint = ""
    if str(DATA_DVC) in others:
        hint = f"; of {DATA_DVC} take one side's: `git checkout --theirs {DATA_DVC}`, and `make data UNTIL=` adds yours"
    raise UserError(
        f"{', '.join(others)} conflict{'s' if len(others) == 1 else ''} too: edit and `git add` them, then run "
        f"`make resolve` again, or leave the merge by `git merge --abort`{hint}"
    )


def _merge() -> None:
    if _git("status", "--porcelain", "--untracked-files=no", "--", "."):
        raise UserError("there are changes that are not committed: commit them first")
    branch = git.default_branch()
    if _git("remote"):
        _fetch(branch)
    ref = next((name for name in (f"origin/{branch}", branch) if git.resolve(name)), None)
    if ref is None:
        raise UserError(f"git knows no branch {branch} to merge: fetch it first")
    command = ["git", "merge", "--quiet", "--no-edit", ref]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and git.resolve("MERGE_HEAD") is None:
        raise UserError(f"git cannot merge {ref}: {' '.join((done.stderr or done.stdout).split())}")


def _fetch(branch: str) -> None:
    command = ["git", "fetch", "--quiet", "origin", branch]
    done = call(command, "origin (git fetch)", Deadline.EXCHANGE, environment=SILENCE)
    if done.returncode:
        raise UserError(f"git fetch failed: {' '.join(done.stderr.split()) or 'no reason'}")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"git {words[0]} failed: {' '.join((done.stderr or done.stdout).split())}")
    return done.stdout.strip()
