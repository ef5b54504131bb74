"""What runs where, since which commit, by whose merge, on which data: read from git alone."""

import subprocess
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from ..adapters import git
from ..errors import UserError
from ..text import logged
from .overlay import ENVIRONMENTS, Release, path, read

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


def run() -> None:
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
