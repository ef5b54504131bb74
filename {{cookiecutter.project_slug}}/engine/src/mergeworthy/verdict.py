"""What the gate says, as a file that others may rely on: `reports/verdict.json`, described by `verdict.schema.json`."""

from typing import Annotated, Literal

from pydantic import Field

from .files import Record

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
