"""From a commit to production: whether it may be released, what staging runs, and the pull request for production.

A release needs a green verdict and an up-to-date dvc.lock, and is made once. Staging runs the newest released model:
its overlay on the default branch names the model, and is never set back to an older one. Production changes by a
reviewed pull request that copies staging's release; all such requests use one branch, which is updated in place.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from .. import files
from ..adapters import actions, git, github
from ..adapters.actions import Event, current
from ..adapters.dvc import stale_stages
from ..adapters.github import commit_file, credentials, fetch_branch, move_branch
from ..errors import UserError
from ..text import DASH, code, logged, say, table
from . import publish
from .image import image_commit
from .publish import ENVIRONMENTS, Release, overlay_file, overlay_text, read_overlay

BRANCH = "promote/production"
PUSH_ATTEMPTS = 5  # pushes of others may come in between
CHANGES_SHOWN = 5  # of each environment
COLUMNS = ("Environment", "Since", "By", "Commit", "Model of", "Training", "Newest data", "Verdict", "Image")


@dataclass(frozen=True)
class Plan:
    """`commit` to release, or None; and the reason in a sentence."""

    commit: str | None
    reason: str


def decide(event: Event) -> Plan:
    """Return the plan for the newest commit that changed the image; a laptop checks only the lock, not the verdict."""
    commit, file = image_commit(), overlay_file("staging")
    if commit is None:
        return Plan(None, "nothing is committed yet")
    if stale := stale_stages():
        return Plan(None, f"dvc.lock is not true ({', '.join(stale)} would run), so there is no model to release")
    # Commits after it did not change the image, and their verdict is of the same model. Commits of releases themselves,
    # which change only overlays, have no verdict.
    judged = git.newest(".", ":(exclude)deploy/overlays") or commit
    if event.name and not is_green(event, judged):
        return Plan(None, f"{judged[:12]} carries no green verdict; the run that gives it one is followed by a release")
    staged = read_overlay(files.read_text(file, "restore it from git"), str(file))
    if staged and staged.commit == commit:
        return Plan(None, f"staging runs {commit[:12]} already")
    return Plan(commit, f"{commit[:12]} is judged, and its dvc.lock is true")


def is_green(event: Event, commit: str) -> bool:
    """Return whether all jobs that judged the commit report success."""
    # A workflow that had nothing to judge, as the drift check on most days, adds a skipped verdict.
    return {run["conclusion"] for run in github.verdicts(event, commit)} - {"skipped"} == {"success"}


def run_plan() -> None:
    """Print the plan, and hand the commit to check out to the workflow; none if there is nothing to release."""
    plan = decide(current())
    say(f"{'release' if plan.commit else 'nothing to release'}: {plan.reason}")
    actions.outputs(head=(git.resolve("HEAD") or "") if plan.commit else "")


def stage(release: Release) -> str:
    """Commit the release to staging's overlay on the default branch; return the result in a sentence."""
    environment, file, branch = credentials(current()), overlay_file("staging"), git.default_branch()
    for _ in range(PUSH_ATTEMPTS):
        head = fetch_branch(branch, environment)
        if head is None:
            raise UserError(f"the remote has no branch {branch}: push it first")
        staged = read_overlay(git.read(head, file), str(file))
        if staged == release:
            return "staging runs this release already"
        if staged and staged.commit != release.commit and not git.is_ancestor(staged.commit, release.commit):
            return f"staging runs {staged.commit[:12]}, which is not older than {release.commit[:12]}: left as it is"
        message = f"Staging runs {release.lock[:12]}\n\nModel of {release.commit}, image {release.digest}"
        new = commit_file(head, file, overlay_text(release, "staging"), message, environment)
        try:
            git.run("push", "--quiet", "origin", f"{new}:refs/heads/{branch}", environment=environment)
        except UserError as error:
            if fetch_branch(branch, environment) == head:
                remedy = "let the App whose key the environment `release` holds bypass the rule (README.md)"
                raise UserError(f"{branch} refuses the release ({error}): {remedy}") from None
            continue
        return f"staging runs {release.lock[:12]} from now on ({new[:12]})"
    raise UserError(f"{branch} moved {PUSH_ATTEMPTS} times while this tried to push: run the step again")


def run_stage() -> None:
    """Stage the release that was just published."""
    say(stage(publish.load_release()))


def promote() -> str:
    """Bring the branch and its pull request up to date with staging; return the result in a sentence."""
    event, base = current(), git.default_branch()
    environment, file = credentials(event), overlay_file("production")
    head = fetch_branch(base, environment)
    if head is None:
        raise UserError(f"the remote has no branch {base}: push it first")
    staged = read_overlay(git.read(head, overlay_file("staging")), str(overlay_file("staging")))
    running = read_overlay(git.read(head, file), str(file))
    if staged is None:
        return "nothing runs in staging yet, so there is nothing to promote"
    if staged == running:
        return "production runs what staging runs"
    if any(change.release == staged for change in history("production", head)):
        return "production ran this release before, and was taken back from it: revert the revert to promote it"
    if event.repository is None:
        summary = _update_branch(head, staged, environment, lambda: None)
        return f"{summary}: open a pull request from {BRANCH} to promote {staged.lock[:12]}"
    repository, pulls = event.repository, github.known_pulls(event.repository, BRANCH)
    closed = [pull for pull in github.decided_pulls(pulls) if pull["state"] == "closed" and not pull["merged_at"]]
    if refused := [pull["number"] for pull in closed if staged.commit in (pull["body"] or "")]:
        return f"pull request {refused[0]} offered this release and was closed: reopen it to promote"
    if not github.open_pull(pulls):
        github.require_pull_requests(event, base)
    summary = _update_branch(head, staged, environment, lambda: github.retire_pull(repository, pulls))
    title = f"Promote {staged.lock[:12]} to production"
    number, is_new = github.offer_pull(repository, BRANCH, base, title, _body(staged, running))
    return f"{summary}, pull request {number} {'is open' if is_new else 'is up to date'}"


def run_promote() -> None:
    """Promote what staging runs."""
    say(promote())


def _update_branch(head: str, staged: Release, environment: dict[str, str], retire: Callable[[], None]) -> str:
    before, file = fetch_branch(BRANCH, environment), overlay_file("production")
    content = overlay_text(staged, "production")
    if before and git.merge_base(before, head) == head and git.read(before, file) == content:
        return f"{BRANCH} carries it already"
    new = commit_file(head, file, content, f"Promote {staged.lock[:12]} to production", environment)
    move_branch(BRANCH, new, before, environment, retire)
    return f"{BRANCH} carries {staged.lock[:12]}"


def _body(staged: Release, running: Release | None) -> str:
    names = ("commit", "lock", "data", "partition", "verdict", "digest")
    rows = [[name, code(getattr(running, name)) if running else DASH, code(getattr(staged, name))] for name in names]
    intro = "Staging runs this model. A merge takes it to production, `git revert` of the merge takes it back."
    return f"{intro}\n\n{table(['', 'Production now', 'After the merge'], rows)}\n"


# What runs where, since when and by whose merge, read from git.


@dataclass(frozen=True)
class Change:
    """One commit that changed what runs in an environment; `release` is None if it took away the last."""

    environment: str
    commit: str
    day: str
    author: str
    release: Release | None


def history(environment: str, head: str = "HEAD") -> list[Change]:
    """Return all changes on the line of history that ends at `head`, newest first; the first is what runs now."""
    file = overlay_file(environment)
    log = git.run("log", "--first-parent", "--format=%H%x00%cs%x00%an", head, "--", str(file))
    changes = []
    for line in filter(None, log.split("\n")):  # not `splitlines`: a name may hold other ends of a line
        commit, day, author = line.split("\0")
        changes.append(Change(environment, commit, day, author, read_overlay(git.read(commit, file), str(file))))
    return changes


def show_status() -> None:
    """Print what runs now in each environment, and below it what ran before."""
    table = Table(title="What runs where", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, overflow="fold")
    for environment in ENVIRONMENTS:
        changes = history(environment)[:CHANGES_SHOWN]
        for change in changes:
            runs_now = change is changes[0]
            cells = [change.day, change.author, change.commit[:12], *_facts(change)]
            table.add_row(environment if runs_now else "  before", *(logged(cell) for cell in cells))
    Console().print(table, markup=False)


def _facts(change: Change) -> tuple[str, ...]:
    release = change.release
    if release is None:
        return ("nothing",)
    return release.commit[:12], release.lock[:12], release.partition, release.verdict, release.digest[:19]
