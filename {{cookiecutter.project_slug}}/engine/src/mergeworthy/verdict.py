"""The verdict of the gate: its type, and its Markdown and console tables.

`reports/verdict.json` is a file that other programs may rely on; `mergeworthy schema verdict` prints its schema.
"""

from typing import Annotated, Literal

from pydantic import Field
from rich.console import Console
from rich.table import Table

from .files import Record
from .text import clean, inert, prose

MARKS = {"pass": "✅", "warn": "⚠️", "block": "⛔"}
WORDS = {"pass": "may be merged", "warn": "may be merged, with a look at the warnings", "block": "may not be merged"}
COLUMNS = ("Check", "", "Figure", "Limit", "Why")

Result = Literal["pass", "warn", "block"]


class Check(Record):
    """The result of one check."""

    name: str
    result: Result
    figure: Annotated[float | None, Field(description="what was measured; null if nothing could be")] = None
    limit: Annotated[float | None, Field(description="the limit that `figure` was compared with")] = None
    why: Annotated[str, Field(description="one sentence; if the result is not `pass`, also how to fix it")]


class Comparison(Record):
    """Challenger against champion on the same rows; `worse_by` is positive if the challenger is worse."""

    metric: str
    column: Annotated[str | None, Field(description="the slice's column; null for the whole holdout")] = None
    value: str | None = None
    members: Annotated[list[str], Field(description="values too small to be judged alone, judged together")] = Field(
        default_factory=list
    )
    rows: int
    blocks: Annotated[int, Field(description="blocks (such as days) that were resampled whole")]
    champion: float
    challenger: float
    worse_by: float
    low: Annotated[float, Field(description="`worse_by` is at least this, at the confidence of gates.yaml")]
    high: Annotated[float, Field(description="`worse_by` is at most this, at the confidence of gates.yaml")]
    margin: float


class Verdict(Record):
    """All checks of a model, and whether it may be merged."""

    version: Literal[1] = 1
    outcome: Result
    commit: Annotated[str | None, Field(description="HEAD when the gate ran; null before the first commit")]
    lock: Annotated[str | None, Field(description="MD5 of dvc.lock in the folder; null if there is none")]
    champion: Annotated[
        str | None, Field(description="the commit whose model is the champion; null if there is none yet")
    ]
    partition: Annotated[str | None, Field(description="the partition that is the holdout; null if unknown")]
    checks: list[Check]
    comparisons: list[Comparison] = Field(default=[])

    @property
    def exit_code(self) -> int:
        """Return 1 if the model may not be merged, or else 0."""
        return int(self.outcome == "block")


def worst(checks: list[Check]) -> Result:
    """Return the outcome of all checks together; no checks at all are a block."""
    results = {check.result for check in checks}
    return "block" if "block" in results or not results else "warn" if "warn" in results else "pass"


def verdict_markdown(verdict: Verdict) -> str:
    """Return the verdict as Markdown for a pull request: a heading, the table of checks, and what was judged."""
    rows = [[prose(cell) for cell in _cells(check)] for check in verdict.checks]
    lines = [list(COLUMNS), ["---", "---", "---:", "---:", "---"], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {_title(verdict)}\n\n{table}\n\n{prose(_subject(verdict))}\n"


def print_verdict(verdict: Verdict) -> None:
    """Print the verdict as a table."""
    print_checks(_title(verdict), verdict.checks, _subject(verdict))


def print_checks(title: str, checks: list[Check], caption: str | None = None) -> None:
    """Print checks as a table."""
    table = Table(title=title, caption=caption and inert(clean(caption)), title_justify="left", caption_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("Figure", "Limit") else "left")
    for check in checks:
        table.add_row(*(inert(clean(cell)) for cell in _cells(check)))
    Console().print(table, markup=False)


def _title(verdict: Verdict) -> str:
    return f"{MARKS[verdict.outcome]} The model {WORDS[verdict.outcome]}"


def _subject(verdict: Verdict) -> str:
    champion = f"champion of {verdict.champion[:12]}" if verdict.champion else "no champion"
    return f"Holdout {verdict.partition or 'unknown'}, {champion}, commit {(verdict.commit or 'none')[:12]}."


def _cells(check: Check) -> list[str]:
    numbers = ["" if value is None else f"{value:.4g}" for value in (check.figure, check.limit)]
    return [check.name, MARKS[check.result], *numbers, check.why]
