"""`make update`: apply the changes of the template since this project was generated or last updated.

cruft applies the difference between two commits of the template to this project, but for the files that are the team's,
which `[tool.cruft]` in pyproject.toml lists. In CI, on the schedule that a team switches on, the result becomes the
pull request of the branch `update/engine`.
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
from ..errors import UserError
from ..process import Deadline, call
from ..text import say

CRUFT = "cruft==2.16.0"
RECORD, PYPROJECT, UV_LOCK = Path(".cruft.json"), Path("pyproject.toml"), Path("uv.lock")
BRANCH, WORKFLOWS = "update/engine", ".github/workflows"
TITLE = "Update from the template"
TO_DO = ": review it, and commit"


def run() -> None:
    """Update; in a workflow, open or update the pull request with the update."""
    event = current()
    summary = update()
    say(summary)
    if event.name and _changed():
        say(propose(event, summary))


def update() -> str:
    """Update the files of this folder; return in a sentence to which commit. Raise `UserError` if it is incomplete."""
    if not RECORD.exists():
        raise UserError(
            f"there is no {RECORD}, so the template of this project is not known: "
            f"`uvx {CRUFT} link ADDRESS --checkout COMMIT` records it "
            "(COMMIT is the one that it was generated from); then commit the file"
        )
    before = _commit()
    if _cruft("check").returncode == 0:
        return f"up to date: the template has nothing newer than {before[:12]}"
    if changed := _changed():
        raise UserError(
            f"{len(changed)} file(s) are not committed ({changed[0]}): commit or stash them first, "
            "so that the update stands apart from them"
        )
    done = _cruft("update", "--skip-apply-ask")
    rejected = [name for name in git.files(".") if name.endswith(".rej")]
    unmerged = git.run("diff", "--name-only", "--diff-filter=U").splitlines()
    if conflicts := [*rejected, *unmerged]:
        raise UserError(f"the update conflicts with changes of this project: resolve and commit {', '.join(conflicts)}")
    if done.returncode or _commit() == before:
        raise UserError(f"cruft could not update: {_last_line(done)}")
    _renew_lock()
    return f"updated from {before[:12]} to {_commit()[:12]} of the template; {_stages_to_run()}{TO_DO}"


def propose(event: Event, summary: str) -> str:
    """Commit the update to its branch, and open or update the pull request; return the result in a sentence."""
    workflows = {path for path in _changed() if path.startswith(f"{WORKFLOWS}/")}
    if workflows and not os.environ.get("UPDATE_TOKEN"):
        raise UserError(
            f"the update changes {', '.join(sorted(workflows))}, which no job's own token may push: "
            "run `make update` on a laptop, or give the secret UPDATE_TOKEN, "
            "whose owner may write contents, pull requests and workflows"
        )
    base, environment, repository = git.default_branch(), credentials(event), str(event.repository)
    pulls = github.known_pulls(repository, BRANCH)
    if not github.open_pull(pulls):
        github.require_pull_requests(event, base)
    before = fetch_branch(BRANCH, environment)
    git.run("add", "--all", environment=environment)
    tree = git.run("write-tree", environment=environment)
    head = git.run("rev-parse", "HEAD", environment=environment)
    if before is None or not _holds_update(before, head, tree, environment):
        new = git.run("commit-tree", tree, "-p", head, "-m", TITLE, environment=environment)
        move_branch(BRANCH, new, before, environment, lambda: github.retire_pull(repository, pulls))
    about = summary.removesuffix(TO_DO)
    body = f"{about}.\n\nNothing that `[tool.cruft]` in pyproject.toml lists is changed. Opened by `update.yaml`."
    number, is_new = github.offer_pull(repository, BRANCH, base, TITLE, body)
    return f"pull request {number} {'is opened' if is_new else 'is up to date'}"


def _holds_update(branch_tip: str, head: str, tree: str, environment: dict[str, str]) -> bool:
    """Return whether the branch holds this update of this commit already."""
    parent = git.run("rev-parse", f"{branch_tip}^", environment=environment)
    return parent == head and git.run("rev-parse", f"{branch_tip}^{{tree}}", environment=environment) == tree


def _renew_lock() -> None:
    """Bring uv.lock up to date with the versions that the update names; raise `UserError` if they do not resolve."""
    if UV_LOCK.exists():
        done = call(["uv", "lock", "--quiet"], "the package index", Deadline.EXCHANGE)
        if done.returncode:
            raise UserError(f"the update is applied, but not {UV_LOCK}: run `uv lock` ({_last_line(done)})")


def _stages_to_run() -> str:
    """Return in words which stages would run with the updated engine, which this process has not loaded."""
    code = "from mergeworthy.adapters.dvc import stale_stages; print(*stale_stages(), sep=', ')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return "after `make setup`, `make plan` names the stages that would run"
    return f"stages to run: {done.stdout.strip() or 'none'}"


def _commit() -> str:
    """Return the commit of the template that this project was last updated to."""
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
        raise UserError("uv, which runs cruft, is not installed: `make setup` installs it") from None
    if done.returncode and words[0] == "check" and "out of date" not in done.stdout + done.stderr:
        raise UserError(f"cruft cannot find out whether the template has changed: {_last_line(done)}")
    return done


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stdout + done.stderr).strip().splitlines() or ["no reason"]
    return next((line.strip() for line in reversed(lines) if line.strip(" ╰─╯│")), "no reason")


def _changed() -> list[str]:
    return [line[3:] for line in git.run("status", "--porcelain").splitlines()]
