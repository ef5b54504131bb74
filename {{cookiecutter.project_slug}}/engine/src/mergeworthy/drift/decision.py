"""What a check says, as a file that others may rely on: `reports/drift.json`, described by `decision.schema.json`."""

from typing import Annotated, Literal

from pydantic import Field

from ..files import Record
from ..reference.performance import Figure

Outcome = Literal["quiet", "retrain", "broken"]
Evidence = Literal["data", "performance", "predictions", "inputs", "age"]


class Rule(Record):
    """One thing that was looked at."""

    name: str
    evidence: Evidence
    fired: bool
    figure: Annotated[float | None, Field(description="what was measured; null where nothing could be")] = None
    threshold: Annotated[float | None, Field(description="what `figure` was held against")] = None
    why: Annotated[str, Field(description="one sentence")]


class Column(Record):
    """How far one column moved: Jensen-Shannon distance from the reference, window by window, the newest last."""

    name: str
    distance: list[float]
    threshold: list[float]
    labels: Annotated[list[str], Field(description="names of the bins")]
    before: Annotated[list[float], Field(description="share of the reference in each bin")]
    now: Annotated[list[float], Field(description="share of the newest window in each bin")]

    @property
    def excess(self) -> float:
        """How many times its threshold the column reaches in every window that was looked at."""
        pairs = zip(self.distance, self.threshold, strict=True)
        return min((distance / threshold for distance, threshold in pairs), default=0.0)


class Window(Record):
    """A stretch of blocks (days)."""

    first: str
    last: str
    rows: int
    performance: dict[str, Figure] = Field(default_factory=dict)


class Log(Record):
    """How the prediction log compares with the source. A row counts once, however often it was asked for."""

    rows: Annotated[int, Field(description="rows of the source that the champion was asked for")] = 0
    counted: Annotated[int, Field(description="of these, rows with an answer that counts")] = 0
    late: Annotated[int, Field(description="rows that were only asked for after their moment had passed")] = 0
    skewed: Annotated[int, Field(description="rows that were only asked for with other inputs than the source's")] = 0
    columns: dict[str, int] = Field(default_factory=dict, description="input → skewed rows in which it differs")
    damaged: Annotated[int, Field(description="lines of the log that cannot be read")] = 0
    other_model: Annotated[int, Field(description="lines that are of another model")] = 0
    other_columns: Annotated[int, Field(description="lines with other inputs than the contract has")] = 0

    @property
    def skew(self) -> float:
        """The share of skewed rows among those that were asked for in time."""
        return self.skewed / max(self.skewed + self.counted, 1)


class Decision(Record):
    """Whether a new model is called for, and what that rests on."""

    version: Literal[1] = 1
    outcome: Outcome
    sentence: str
    model: Annotated[str | None, Field(description="MD5 of the champion")] = None
    reference: Window | None = None
    partitions: list[str] = Field(default_factory=list, description="what is new since the champion's holdout")
    recent: Annotated[Window | None, Field(description="the labelled rows that performance is told from")] = None
    windows: list[Window] = Field(default_factory=list, description="the windows that had to agree, oldest first")
    history: list[Window] = Field(default_factory=list, description="labelled performance over time")
    log: Annotated[Log | None, Field(description="the prediction log, if it is looked at")] = None
    rules: list[Rule] = Field(default_factory=list)
    columns: list[Column] = Field(default_factory=list, description="inputs and the score, the furthest moved first")

    @property
    def fired(self) -> list[Rule]:
        """The rules that fired."""
        return [rule for rule in self.rules if rule.fired]
