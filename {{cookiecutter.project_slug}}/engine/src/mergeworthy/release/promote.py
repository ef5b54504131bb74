"""What runs where: what may be released, staging, production, and what each of them holds."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from .. import files
from ..adapters import actions, git, github
from ..adapters import git as repository
from ..adapters.actions import Event, current
from ..adapters.dvc import stale_stages
from ..adapters.github import commit_file, credentials, fetch_branch, move_branch, run_git
from ..container import build
from ..errors import UserError
from ..render import DASH, table
from ..text import code, logged, say
from . import publish
from .overlay import ENVIRONMENTS, Release, path, read, text

# DOC release.plan: May what is checked out be released? Only with a green verdict and a true lock, and only once.


@dataclass(frozen=True)
class Plan:
    """`commit` to release, or None; and the reason in a sentence."""

    commit: str | None
    reason: str


def decide(event: Event) -> Plan:
    """Look at the newest commit that changed the image; a laptop has no verdict to ask for, only the lock."""
    commit, file = build.image_commit(), path("staging")
    if commit is None:
        return Plan(None, "nothing is committed yet")
    if stale := stale_stages():
        return Plan(None, f"dvc.lock is not true ({', '.join(stale)} would run), so there is no model to release")
    # What came after it is judged with it; only the releases' own commits carry no verdict.
    judged = git.newest(".", ":(exclude)deploy/overlays") or commit
    if event.name and not is_green(event, judged):
        return Plan(None, f"{judged[:12]} carries no green verdict; the run that gives it one is followed by a release")
    staged = read(files.read_text(file, "restore it from git"), str(file))
    if staged and staged.commit == commit:
        return Plan(None, f"staging runs {commit[:12]} already")
    return Plan(commit, f"{commit[:12]} is judged, and its dvc.lock is true")


def is_green(event: Event, commit: str) -> bool:
    """Return whether the jobs that judged the commit say success, all of them."""
    # A workflow that had nothing to judge, as the drift check on most days, leaves a skipped one beside it.
    return {run["conclusion"] for run in github.verdicts(event, commit)} - {"skipped"} == {"success"}


def run_plan() -> None:
    """Print the plan, and hand the workflow the very commit to check out; none where there is nothing to release."""
    plan = decide(current())
    say(f"{'release' if plan.commit else 'nothing to release'}: {plan.reason}")
    actions.outputs(head=(git.resolve("HEAD") or "") if plan.commit else "")


# DOC release.stage: Staging runs the newest released model: its overlay on main names it, and never goes back to an
# older one.

TRIES = 5  # pushes of others may come in between


def stage(release: Release) -> str:
    """Commit the release to staging's overlay on the default branch, and say in a sentence what came of it."""
    environment, file, branch = credentials(current()), path("staging"), repository.default_branch()
    for _ in range(TRIES):
        head = fetch_branch(branch, environment)
        if head is None:
            raise UserError(f"the remote has no branch {branch}: push it first")
        there = read(repository.read(head, file), str(file))
        if there == release:
            return "staging runs this release already"
        if there and there.commit != release.commit and not repository.is_ancestor(there.commit, release.commit):
            return f"staging runs {there.commit[:12]}, which is not older than {release.commit[:12]}: left as it is"
        message = f"Staging runs {release.lock[:12]}\n\nModel of {release.commit}, image {release.digest}"
        new = commit_file(head, file, text(release, "staging"), message, environment)
        try:
            run_git("push", "--quiet", "origin", f"{new}:refs/heads/{branch}", environment=environment)
        except UserError as error:
            if fetch_branch(branch, environment) == head:
                mend = "let the App whose key the environment `release` holds bypass the rule (README.md)"
                raise UserError(f"{branch} refuses the release ({error}): {mend}") from None
            continue
        return f"staging runs {release.lock[:12]} from now on ({new[:12]})"
    raise UserError(f"{branch} moved {TRIES} times while this tried to push: run the step again")


def run_stage() -> None:
    """Stage the release that was just published."""
    say(stage(publish.load_release()))


# DOC release.promote: Production changes by a reviewed pull request that carries staging's release over; one branch,
# updated in place.

BRANCH = "promote/production"


def promote() -> str:
    """Bring the branch and its pull request up to date with staging, and say in a sentence what came of it."""
    event, base = current(), git.default_branch()
    environment, file = credentials(event), path("production")
    head = fetch_branch(base, environment)
    if head is None:
        raise UserError(f"the remote has no branch {base}: push it first")
    staged = read(git.read(head, path("staging")), str(path("staging")))
    running = read(git.read(head, file), str(file))
    if staged is None:
        return "nothing runs in staging yet, so there is nothing to promote"
    if staged == running:
        return "production runs what staging runs"
    if any(change.release == staged for change in history("production", head)):
        return "production ran this release before, and was taken back from it: revert the revert to promote it"
    if event.repository is None:
        branch = _branch(head, staged, environment, lambda: None)
        return f"{branch}: open a pull request from {BRANCH} to promote {staged.lock[:12]}"
    at, pulls = event.repository, github.known_pulls(event.repository, BRANCH)
    closed = [one for one in github.decided_pulls(pulls) if one["state"] == "closed" and not one["merged_at"]]
    if refused := [one["number"] for one in closed if staged.commit in (one["body"] or "")]:
        return f"pull request {refused[0]} offered this release and was closed: reopen it to promote"
    if not github.open_pull(pulls):
        github.require_pull_requests(event, base)
    branch = _branch(head, staged, environment, lambda: github.retire_pull(at, pulls))
    title = f"Promote {staged.lock[:12]} to production"
    number, fresh = github.offer_pull(at, BRANCH, base, title, _body(staged, running))
    return f"{branch}, pull request {number} {'is open' if fresh else 'is up to date'}"


def _branch(head: str, staged: Release, environment: dict[str, str], retire: Callable[[], None]) -> str:
    there, file = fetch_branch(BRANCH, environment), path("production")
    wanted = text(staged, "production")
    if there and git.merge_base(there, head) == head and git.read(there, file) == wanted:
        return f"{BRANCH} carries it already"
    new = commit_file(head, file, wanted, f"Promote {staged.lock[:12]} to production", environment)
    move_branch(BRANCH, new, there, environment, retire)
    return f"{BRANCH} carries {staged.lock[:12]}"


def _body(staged: Release, running: Release | None) -> str:
    names = ("commit", "lock", "data", "partition", "verdict", "digest")
    rows = [[name, code(getattr(running, name)) if running else DASH, code(getattr(staged, name))] for name in names]
    said = "Staging runs this model. A merge takes it to production, `git revert` of the merge takes it back."
    return f"{said}\n\n{table(['', 'Production now', 'After the merge'], rows)}\n"


def run_promote() -> None:
    """Promote what staging runs."""
    say(promote())


# DOC release.status: What runs where, since which commit, by whose merge, on which data: read from git alone.

COLUMNS = ("Environment", "Since", "By", "Commit", "Model of", "Training", "Newest data", "Verdict", "Image")
CHANGES = 5  # shown of each environment


@dataclass(frozen=True)
class Change:
    """One commit that changed what runs in an environment; `release` is None where it took away the last."""

    environment: str
    commit: str
    day: str
    author: str
    release: Release | None


def history(environment: str, head: str = "HEAD") -> list[Change]:
    """Give all changes on the line of history that ends at `head`, newest first; the first is what runs now."""
    file = path(environment)
    told = subprocess.run(
        ["git", "log", "--first-parent", "--format=%H%x00%cs%x00%an", head, "--", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        raise UserError(f"git cannot tell the history of {file}: {told.stderr.strip()}")
    changes = []
    for line in told.stdout.split("\n")[:-1]:  # a name may hold what `splitlines` takes for the end of a line
        commit, day, author = line.split("\0")
        changes.append(Change(environment, commit, day, author, read(git.read(commit, file), str(file))))
    return changes


def show_status() -> None:
    """Print what runs now, and below it what ran before."""
    table = Table(title="What runs where", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, overflow="fold")
    for environment in ENVIRONMENTS:
        changes = history(environment)[:CHANGES]
        for change in changes:
            now = change is changes[0]
            cells = [change.day, change.author, change.commit[:12], *_facts(change)]
            table.add_row(environment if now else "  before", *(logged(cell) for cell in cells))
    Console().print(table, markup=False)


def _facts(change: Change) -> tuple[str, ...]:
    if change.release is None:
        return ("nothing",)
    made = change.release
    return made.commit[:12], made.lock[:12], made.partition, made.verdict, made.digest[:19]
