"""`make update`: take over what the template has changed since this project was generated or last updated.

cruft does it: it applies the difference between two states of the template to this project, and leaves alone what did
not change there. In CI, on the schedule that a team switches on, the result becomes the one pull request of its branch.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from .. import files
from ..adapters import git, github
from ..adapters.actions import Event, current
from ..adapters.github import credentials, fetch_branch, move_branch
from ..adapters.github import run_git as repository
from ..errors import UserError
from ..process import Deadline, call
from ..text import say

CRUFT = "cruft==2.16.0"
RECORD, PYPROJECT = Path(".cruft.json"), Path("pyproject.toml")
BRANCH, WORKFLOWS = "update/engine", ".github/workflows"
TITLE = "Update from the template"


def run() -> None:
    """Update; where a workflow runs this, open or update the pull request with it."""
    event = current()
    said = update()
    say(said)
    if event.name and _changed():
        say(propose(event, said))


def update() -> str:
    """Update the files of this folder and say to which commit; raise `UserError` if that cannot be done whole."""
    if not RECORD.exists():
        raise UserError(
            f"there is no {RECORD}, so the template of this project is not known: "
            f"`uvx {CRUFT} link ADDRESS --checkout COMMIT` notes it "
            "(COMMIT is the one that it was generated from); then commit the file"
        )
    before = _commit()
    if _cruft("check").returncode == 0:
        return f"up to date: the template has nothing newer than {before[:12]}"
    if changed := _changed():
        raise UserError(
            f"{len(changed)} file(s) are not committed ({changed[0]}): commit or stash them first, "
            "so that the update can be told from them"
        )
    done = _cruft("update", "--skip-apply-ask")
    rejected = [name for name in git.files(".") if name.endswith(".rej")]
    unmerged = _git("diff", "--name-only", "--diff-filter=U").splitlines()
    if left := [*rejected, *unmerged]:
        raise UserError(f"the update conflicts with changes of this project: resolve and commit {', '.join(left)}")
    if done.returncode or _commit() == before:
        raise UserError(f"cruft could not update: {_last(done)}")
    return f"updated from {before[:12]} to {_commit()[:12]} of the template; {_stages()}: review it, and commit"


def propose(event: Event, said: str) -> str:
    """Commit the update to its branch, and open its pull request or bring that up to date."""
    own = {path for path in _changed() if path.startswith(f"{WORKFLOWS}/")}
    if own and not os.environ.get("UPDATE_TOKEN"):
        raise UserError(
            f"the update changes {', '.join(sorted(own))}, which no job's own token may push: run `make update` on a "
            "laptop, or give the secret UPDATE_TOKEN, whose owner may write contents, pull requests and workflows"
        )
    base, environment = git.default_branch(), credentials(event)
    known = github.known_pulls(str(event.repository), BRANCH)
    if not github.open_pull(known):
        github.require_pull_requests(event, base)
    there = fetch_branch(BRANCH, environment)
    repository("add", "--all", environment=environment)
    tree = repository("write-tree", environment=environment)
    head = repository("rev-parse", "HEAD", environment=environment)
    if there is None or not _is_same(there, head, tree, environment):
        new = repository("commit-tree", tree, "-p", head, "-m", TITLE, environment=environment)
        move_branch(BRANCH, new, there, environment, lambda: github.retire_pull(str(event.repository), known))
    body = f"{said.partition(':')[0]}.\n\nNothing of `src/ml` is changed by an update. Opened by `update.yaml`."
    number, fresh = github.offer_pull(str(event.repository), BRANCH, base, TITLE, body)
    return f"pull request {number} {'is opened' if fresh else 'is up to date'}"


def _is_same(there: str, head: str, tree: str, environment: dict[str, str]) -> bool:
    """Tell whether the branch holds this update of this commit already."""
    parent = repository("rev-parse", f"{there}^", environment=environment)
    return parent == head and repository("rev-parse", f"{there}^{{tree}}", environment=environment) == tree


def _stages() -> str:
    """Say which stages would run with the engine that was just written, which this process has not loaded."""
    code = "from mergeworthy.adapters.dvc import stale_stages; print(*stale_stages(), sep=', ')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return "which stages would run, `make plan` says after `make setup`"
    return f"stages to run: {done.stdout.strip() or 'none'}"


def _commit() -> str:
    text = files.read_text(RECORD, "restore it from git")
    try:
        return str(json.loads(text)["commit"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{RECORD}: JSON with the template's commit is expected: restore it from git") from None


def _cruft(*words: str) -> subprocess.CompletedProcess[str]:
    """Run cruft in an environment of its own; raise `UserError` if there is no uv."""
    newest = files.read_toml(PYPROJECT)["tool"]["uv"]["exclude-newer"]
    command = ["uv", "tool", "run", "--quiet", "--exclude-newer", newest, CRUFT, *words]
    try:
        done = call(command, "the template's repository (cruft)", Deadline.EXCHANGE)
    except FileNotFoundError:
        raise UserError("uv is not installed, with which cruft is run: `make setup` installs it") from None
    if done.returncode and words[0] == "check" and "out of date" not in done.stdout + done.stderr:
        raise UserError(f"cruft cannot tell whether the template has changed: {_last(done)}")
    return done


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stdout + done.stderr).strip().splitlines() or ["no reason"]
    return next((line.strip() for line in reversed(lines) if line.strip(" ╰─╯│")), "no reason")


def _changed() -> list[str]:
    return [line[3:] for line in _git("status", "--porcelain").splitlines()]


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout
