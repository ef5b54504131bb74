"""The decision, from counts and labelled rows alone: pure functions, the same figures give the same answer."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import Field

from ..config.gates import Bootstrap, Drift, Performance
from ..config.gates import Window as WindowRules
from ..data.contract import private
from ..files import Record
from ..project import registered
from ..reference import SCORE, Bins, Counts, Figure, Labelled, Reference, measure, plain, worse
from ..stats import jensen_shannon

# DOC drift.decision: What a check says, as a file that others may rely on: `reports/drift.json`, described by
# `decision.schema.json`.

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


# DOC drift.schema: The published schema of a decision: `python -m mergeworthy.ops.drift.schema` writes it anew.

SCHEMA = Path(__file__).with_name("decision.schema.json")


def decision_schema() -> str:
    """Give the JSON schema of `Decision` as it is now."""
    return json.dumps(Decision.model_json_schema(), indent=2) + "\n"


# DOC drift.rules: The rules, one kind of evidence each: figure, threshold and a sentence, fired or not.

Figures = Mapping[str, Figure]


def performance_rules(holdout: Figures, now: Figures, policy: Performance) -> Iterator[Rule]:
    """Labelled performance: shown worse than on the holdout by more than the margin."""
    for metric, margin in policy.margins.items():
        if metric not in holdout or metric not in now:
            why = f"{metric} cannot be told yet: too few days or rows with a label."
            yield Rule(name=metric, evidence="performance", fired=False, threshold=margin, why=why)
            continue
        found = worse(metric, holdout[metric], now[metric])
        low, fell = found.at_least(policy.confidence), f"{found.champion:.4f} → {found.challenger:.4f}"
        fired = low > margin
        bound = f"with {policy.confidence:.1%} confidence at least {low:.4f} worse"
        told = f"{metric} on labelled rows went {fell}, {bound}"
        why = f"{told}, the margin is {margin:g}." if fired else f"{told}: not beyond the margin of {margin:g}."
        yield Rule(name=metric, evidence="performance", fired=fired, figure=low, threshold=margin, why=why)


def shows_as_good(holdout: Figures, now: Figures, policy: Performance) -> bool:
    """Tell whether every metric is shown to be no more than its margin worse than on the holdout."""
    pairs = policy.margins.items()
    return all(
        metric in holdout
        and metric in now
        and worse(metric, holdout[metric], now[metric]).at_most(policy.confidence) <= margin
        for metric, margin in pairs
    )


def moved(columns: Iterable[Column], windows: int, policy: WindowRules) -> Iterator[Rule]:
    """Predictions and inputs: further from the reference than usual, in every one of the windows that must agree."""
    if windows < policy.persistence:
        why = f"Only {windows} of the {policy.persistence} windows of {policy.blocks} days that must agree is there."
        yield Rule(
            name="windows", evidence="inputs", fired=False, figure=windows, threshold=policy.persistence, why=why
        )
        return
    for column in columns:
        fired = column.excess > 1
        distance, limit = _weakest(column)
        what = "predictions" if column.name == SCORE else column.name
        moved_by = (
            f"{what} lies {distance:.3f} (Jensen-Shannon) or more from the reference in each of {windows} windows"
        )
        why = f"{moved_by}, usual is up to {limit:.3f}." if fired else f"{what} stayed within what is usual."
        evidence = "predictions" if column.name == SCORE else "inputs"
        yield Rule(name=column.name, evidence=evidence, fired=fired, figure=distance, threshold=limit, why=why)


def age(blocks: int, policy: Drift) -> Rule:
    """Age, in days of data since the champion's holdout."""
    fired = blocks > policy.maximum_age
    why = f"{blocks} days of data came since the champion's holdout, {policy.maximum_age} may."
    return Rule(name="age", evidence="age", fired=fired, figure=blocks, threshold=policy.maximum_age, why=why)


def _weakest(column: Column) -> tuple[float, float]:
    pairs: Sequence[tuple[float, float]] = list(zip(column.distance, column.threshold, strict=True))
    return min(pairs, key=lambda pair: pair[0] / pair[1])


# DOC drift.decide: The decision, from counts and labelled rows alone: pure functions, the same figures give the same
# answer. Evidence is weighed in the order of its worth: labelled performance, then predictions, then inputs. Where
# labels show the champion to be as good as on its holdout, within the margin, what merely looks different calls for
# nothing: seasons come and go. Age always counts.

NOTHING_NEW = "Nothing is to be done: no data came since the champion was made."


def decide(reference: Reference, now: Counts, labelled: Labelled, settings: Bootstrap, policy: Drift) -> Decision:
    """Decide on what came since the reference; `labelled` are its rows whose label is known."""
    parts = windows(now, policy)
    columns = sorted(compare(reference, now, parts), key=lambda column: column.excess, reverse=True)
    matured = now.blocks[: len(now.blocks) - policy.label_delay]
    stretches = _stretches(labelled, matured, policy)
    recent = pl.concat(stretches[-policy.performance.windows :]) if stretches else labelled.clear()
    metrics, figures = policy.performance.margins, {}
    if recent.height >= policy.window.minimum_rows:
        figures = measure(recent, metrics, settings)
    performance = performance_rules(reference.holdout, figures, policy.performance)
    found = [*performance, *moved(columns, len(parts), policy.window), age(len(now.blocks), policy)]
    as_good = shows_as_good(reference.holdout, figures, policy.performance)
    calls = [rule for rule in found if rule.fired and (rule.evidence in ("performance", "age") or not as_good)]
    return Decision(
        outcome="retrain" if calls else "quiet",
        sentence=sentence(found, calls, as_good=as_good) if now.blocks else NOTHING_NEW,
        model=reference.model,
        reference=Window(
            first=reference.first, last=reference.last, rows=reference.rows, performance=reference.holdout
        ),
        windows=[
            Window(first=now.blocks[part][0], last=now.blocks[part][-1], rows=int(now.rows[part].sum()))
            for part in parts
        ],
        recent=_told(recent, figures) if figures else None,
        history=[_told(part, plain(part, metrics)) for part in stretches],
        rules=found,
        columns=columns,
    )


def windows(now: Counts, policy: Drift) -> list[slice]:
    """Cut the newest blocks into windows that have to agree, oldest first; each long enough, and with enough rows."""
    found: list[slice] = []
    stop = len(now.blocks)
    while len(found) < policy.window.persistence:
        start, rows = stop, 0
        while start and (stop - start < policy.window.blocks or rows < policy.window.minimum_rows):
            start -= 1
            rows += int(now.rows[start])
        if stop - start < policy.window.blocks or rows < policy.window.minimum_rows:
            break
        found.insert(0, slice(start, stop))
        stop = start
    return found


def compare(reference: Reference, now: Counts, parts: Sequence[slice]) -> Iterable[Column]:
    """Measure each column's distance from the reference in each window."""
    for name, counts in now.columns.items():
        before = np.array(reference.counts[name])
        seen = [counts[part].sum(axis=0) for part in parts]
        last = seen[-1] if seen else counts.sum(axis=0)
        yield Column(
            name=name,
            distance=[float(jensen_shannon(one, before)) for one in seen],
            threshold=[reference.limit(name, int(one.sum())) for one in seen],
            labels=_labels(name, reference.bins[name]),
            before=(before / max(before.sum(), 1)).round(6).tolist(),
            now=(last / max(last.sum(), 1)).round(6).tolist(),
        )


def _labels(name: str, bins: Bins) -> list[str]:
    """Return what the bins of a column are called; those of a private one have numbers in place of values."""
    if not any(private(schema, [name]) for schema in registered().schemas.values()):
        return bins.labels
    return [bins.labels[0], *(f"(bin {place})" for place in range(1, len(bins.labels)))]


def sentence(found: Sequence[Rule], calls: Sequence[Rule], *, as_good: bool) -> str:
    """Say what was decided and why, the weightiest reason first."""
    if calls:
        more = f" ({len(calls) - 1} more rules fired)" if len(calls) > 1 else ""
        return f"A new model is called for: {calls[0].why}{more}"
    quiet = [rule for rule in found if rule.fired]
    if quiet:
        return (
            f"Nothing is to be done: {len(quiet)} of inputs and predictions moved, "
            "but labels show the champion to be as good as on its holdout."
        )
    return (
        "Nothing is to be done: the champion is as good as on its holdout."
        if as_good
        else ("Nothing is to be done: no rule fired.")
    )


def _stretches(labelled: Labelled, blocks: Sequence[str], policy: Drift) -> list[Labelled]:
    """Cut the labelled rows into stretches of a window's length, the newest whole; without those that have none."""
    length = policy.window.blocks
    starts = range(len(blocks) % length, len(blocks), length)
    parts = (labelled.filter(pl.col("block").is_in(blocks[start : start + length])) for start in starts)
    return [part for part in parts if len(part)]


def _told(rows: Labelled, figures: Mapping[str, Figure]) -> Window:
    blocks = rows["block"]
    return Window(first=blocks[0], last=blocks[-1], rows=rows.height, performance=dict(figures))


if __name__ == "__main__":
    SCHEMA.write_text(decision_schema())
