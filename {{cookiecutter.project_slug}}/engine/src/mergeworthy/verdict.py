"""The verdict: its type, its file, and how people see it."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from rich.console import Console
from rich.table import Table

from .files import Record
from .text import clean, inert, prose

# DOC verdict: What the gate says, as a file that others may rely on: `reports/verdict.json`, described by
# `verdict.schema.json`.

MARKS = {"pass": "✅", "warn": "⚠️", "block": "⛔"}
WORDS = {"pass": "may be merged", "warn": "may be merged, with a look at the warnings", "block": "may not be merged"}

Result = Literal["pass", "warn", "block"]


class Check(Record):
    """One thing that was looked at."""

    name: str
    result: Result
    figure: Annotated[float | None, Field(description="what was measured; null where nothing could be")] = None
    limit: Annotated[float | None, Field(description="what `figure` was held against")] = None
    why: Annotated[str, Field(description="one sentence; where the result is not `pass`, also how to mend it")]


class Comparison(Record):
    """Challenger against champion on the same rows; `worse_by` is positive where the challenger is worse."""

    metric: str
    column: Annotated[str | None, Field(description="the slice's column; null for the whole holdout")] = None
    value: str | None = None
    members: Annotated[list[str], Field(description="values too small to be judged alone, judged together")] = Field(
        default_factory=list
    )
    rows: int
    days: Annotated[int, Field(description="blocks that were resampled whole")]
    champion: float
    challenger: float
    worse_by: float
    low: Annotated[float, Field(description="`worse_by` is at least this, at the confidence of gates.yaml")]
    high: Annotated[float, Field(description="`worse_by` is at most this, at the confidence of gates.yaml")]
    margin: float


class Verdict(Record):
    """Whether the model may be merged."""

    version: Literal[1] = 1
    outcome: Result
    commit: Annotated[str | None, Field(description="HEAD when the gate ran; null before the first commit")]
    lock: Annotated[str | None, Field(description="MD5 of dvc.lock as it lay in the folder")]
    champion: Annotated[
        str | None, Field(description="the commit whose model is the champion; null: there is none yet")
    ]
    partition: Annotated[str | None, Field(description="the holdout")]
    checks: list[Check]
    comparisons: list[Comparison] = Field(default=[])

    @property
    def exit_code(self) -> int:
        """1 where the model may not be merged."""
        return int(self.outcome == "block")


def worst(checks: list[Check]) -> Result:
    """Give the outcome of all checks together; nothing checked is nothing shown, and blocks."""
    results = {check.result for check in checks}
    return "block" if "block" in results or not results else "warn" if "warn" in results else "pass"


# DOC gate.show: The verdict for people: a Markdown table for pull requests, the same on the console.

COLUMNS = ("Check", "", "Figure", "Limit", "Why")


def verdict_markdown(verdict: Verdict) -> str:
    """Give the verdict as one heading, its table and where it comes from."""
    rows = [[prose(cell) for cell in _cells(check)] for check in verdict.checks]
    lines = [list(COLUMNS), ["---", "---", "---:", "---:", "---"], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {_title(verdict)}\n\n{table}\n\n{prose(_origin(verdict))}\n"


def print_verdict(verdict: Verdict) -> None:
    """Print the verdict."""
    print_checks(_title(verdict), verdict.checks, _origin(verdict))


def print_checks(title: str, told: list[Check], caption: str | None = None) -> None:
    """Print checks as a table."""
    table = Table(title=title, caption=caption and inert(clean(caption)), title_justify="left", caption_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("Figure", "Limit") else "left")
    for check in told:
        table.add_row(*(inert(clean(cell)) for cell in _cells(check)))
    Console().print(table, markup=False)


def _title(verdict: Verdict) -> str:
    return f"{MARKS[verdict.outcome]} The model {WORDS[verdict.outcome]}"


def _origin(verdict: Verdict) -> str:
    champion = f"champion of {verdict.champion[:12]}" if verdict.champion else "no champion"
    return f"Holdout {verdict.partition or 'unknown'}, {champion}, commit {(verdict.commit or 'none')[:12]}."


def _cells(check: Check) -> list[str]:
    numbers = ["" if value is None else f"{value:.4g}" for value in (check.figure, check.limit)]
    return [check.name, MARKS[check.result], *numbers, check.why]


# DOC gate.schema: The published schema of a verdict: `python -m mergeworthy.ops.gate.schema` writes it anew.

SCHEMA = Path(__file__).with_name("verdict.schema.json")


def verdict_schema() -> str:
    """Give the JSON schema of `Verdict` as it is now."""
    return json.dumps(Verdict.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(verdict_schema())
