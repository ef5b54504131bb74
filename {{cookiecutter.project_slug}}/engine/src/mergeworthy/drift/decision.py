"""The drift decision: `reports/drift.json` as types, and the pure functions that decide from counts and labelled rows.

Other programs may rely on the file; `mergeworthy schema drift` prints its schema. The same figures give the same
decision.

Evidence is weighed in the order of its worth: labelled performance, then predictions, then inputs. If labels show the
champion to be as good as on its holdout, within the margins, inputs and predictions that moved call for nothing:
seasons come and go. Age always counts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import Field

from ..config.gates import Bootstrap, Drift, Performance
from ..config.gates import Window as WindowRules
from ..data.contract import private
from ..files import Record
from ..project import registered
from ..reference import (
    Bins,
    Counts,
    Figure,
    Labelled,
    Reference,
    deterioration,
    measure,
    measure_without_error,
)
from ..stats import jensen_shannon
from ..text import counted

NOTHING_NEW = "Nothing to do: no data came since the champion was trained."

Outcome = Literal["quiet", "retrain", "broken"]
Evidence = Literal["data", "performance", "predictions", "inputs", "age"]
Figures = Mapping[str, Figure]


class Rule(Record):
    """One rule that was applied."""

    name: str
    evidence: Evidence
    fired: bool
    figure: Annotated[float | None, Field(description="what was measured; null if nothing could be measured")] = None
    threshold: Annotated[float | None, Field(description="what `figure` was compared with")] = None
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
        """Return how many times its threshold the column reaches in every window; 0 if there is no window."""
        pairs = zip(self.distance, self.threshold, strict=True)
        return min((distance / threshold for distance, threshold in pairs), default=0.0)


class Window(Record):
    """A run of blocks (such as days)."""

    first: str
    last: str
    rows: int
    performance: dict[str, Figure] = Field(default_factory=dict)


class Log(Record):
    """How the prediction log compares with the source. A row counts once, however often it was requested."""

    rows: Annotated[int, Field(description="rows of the source for which an answer was requested")] = 0
    counted: Annotated[int, Field(description="of these, rows with an answer that counts")] = 0
    late: Annotated[int, Field(description="rows that were only requested after their moment had passed")] = 0
    skewed: Annotated[int, Field(description="rows that were only requested with other inputs than the source's")] = 0
    columns: dict[str, int] = Field(default_factory=dict, description="input → skewed rows in which it differs")
    damaged: Annotated[int, Field(description="lines of the log that cannot be read")] = 0
    other_model: Annotated[int, Field(description="lines of another model")] = 0
    other_columns: Annotated[int, Field(description="lines with other inputs than the contract has")] = 0

    @property
    def skew(self) -> float:
        """Return the share of skewed rows among those that were requested in time."""
        return self.skewed / max(self.skewed + self.counted, 1)


class Decision(Record):
    """Whether a new model is called for, and the evidence for that."""

    version: Literal[1] = 1
    outcome: Outcome
    sentence: str
    model: Annotated[str | None, Field(description="MD5 of the champion")] = None
    reference: Window | None = None
    partitions: list[str] = Field(default_factory=list, description="what is new since the champion's holdout")
    recent: Annotated[Window | None, Field(description="the labelled rows on which performance is measured")] = None
    windows: list[Window] = Field(default_factory=list, description="the windows that had to agree, oldest first")
    history: list[Window] = Field(default_factory=list, description="labelled performance over time")
    log: Annotated[Log | None, Field(description="the prediction log, if it is read")] = None
    rules: list[Rule] = Field(default_factory=list)
    columns: list[Column] = Field(default_factory=list, description="inputs and predictions, the furthest moved first")

    @property
    def fired(self) -> list[Rule]:
        """Return the rules that fired."""
        return [rule for rule in self.rules if rule.fired]


def decide(reference: Reference, now: Counts, labelled: Labelled, settings: Bootstrap, policy: Drift) -> Decision:
    """Return the decision on the data that came since the reference; `labelled` are its rows whose label is known."""
    runs = windows(now, policy)
    columns = sorted(compare(reference, now, runs), key=lambda column: column.excess, reverse=True)
    matured = now.blocks[: len(now.blocks) - policy.label_delay]
    stretches = _stretches(labelled, matured, policy)
    recent = pl.concat(stretches[-policy.performance.windows :]) if stretches else labelled.clear()
    metrics, figures = policy.performance.margins, {}
    if recent.height >= policy.window.minimum_rows:
        figures = measure(recent, metrics, settings)
    performance = performance_rules(reference.holdout, figures, policy.performance)
    distances = distance_rules(columns, len(runs), policy.window, settings.stretch)
    rules = [*performance, *distances, age_rule(len(now.blocks), policy, settings.stretch)]
    as_good = shows_as_good(reference.holdout, figures, policy.performance)
    decisive = [rule for rule in rules if rule.fired and (rule.evidence in ("performance", "age") or not as_good)]
    return Decision(
        outcome="retrain" if decisive else "quiet",
        sentence=summary(rules, decisive, as_good=as_good) if now.blocks else NOTHING_NEW,
        model=reference.model,
        reference=Window(
            first=reference.first, last=reference.last, rows=reference.rows, performance=reference.holdout
        ),
        windows=[
            Window(first=now.blocks[run][0], last=now.blocks[run][-1], rows=int(now.rows[run].sum())) for run in runs
        ],
        recent=_window_of(recent, figures) if figures else None,
        history=[_window_of(rows, measure_without_error(rows, metrics)) for rows in stretches],
        rules=rules,
        columns=columns,
    )


def windows(now: Counts, policy: Drift) -> list[slice]:
    """Return the newest windows that must agree, as slices of the blocks, oldest first.

    Each window has enough blocks and rows; there are fewer than `persistence` windows if the data does not suffice.
    """
    runs: list[slice] = []
    stop = len(now.blocks)
    while len(runs) < policy.window.persistence:
        start, rows = stop, 0
        while start and (stop - start < policy.window.blocks or rows < policy.window.minimum_rows):
            start -= 1
            rows += int(now.rows[start])
        if stop - start < policy.window.blocks or rows < policy.window.minimum_rows:
            break
        runs.insert(0, slice(start, stop))
        stop = start
    return runs


def compare(reference: Reference, now: Counts, runs: Sequence[slice]) -> Iterable[Column]:
    """Yield each column with its distance from the reference in each window of `runs`."""
    for name, counts in now.columns.items():
        before = np.array(reference.counts[name])
        totals = [counts[run].sum(axis=0) for run in runs]
        newest = totals[-1] if totals else counts.sum(axis=0)
        yield Column(
            name=name,
            distance=[float(jensen_shannon(total, before)) for total in totals],
            threshold=[reference.limit(name, int(total.sum())) for total in totals],
            labels=_labels(name, reference.bins[name]),
            before=(before / max(before.sum(), 1)).round(6).tolist(),
            now=(newest / max(newest.sum(), 1)).round(6).tolist(),
        )


def performance_rules(holdout: Figures, now: Figures, policy: Performance) -> Iterator[Rule]:
    """Yield a rule for each metric: it fires if the metric is worse than on the holdout beyond its margin."""
    for metric, allowed in policy.margins.items():
        if metric not in holdout or metric not in now:
            why = f"{metric} cannot be measured yet: too few rows with a label."
            yield Rule(name=metric, evidence="performance", fired=False, why=why)
            continue
        margin = allowed.of(holdout[metric].value)
        loss = deterioration(metric, holdout[metric], now[metric])
        low = loss.at_least(policy.confidence)
        fired = low > margin
        change = f"{metric} on labelled rows went {loss.champion:.4f} → {loss.challenger:.4f}"
        confidence = f"{100 * policy.confidence:.3g}% confidence"
        shown = f"with {confidence} at least {low:.4f} worse" if low > 0 else f"not shown worse with {confidence}"
        why = f"{change}, {shown}; the margin is {margin:.4g}."
        yield Rule(name=metric, evidence="performance", fired=fired, figure=low, threshold=margin, why=why)


def shows_as_good(holdout: Figures, now: Figures, policy: Performance) -> bool:
    """Return True if every metric is shown to be no more than its margin worse than on the holdout."""
    return all(
        metric in holdout
        and metric in now
        and deterioration(metric, holdout[metric], now[metric]).at_most(policy.confidence)
        <= margin.of(holdout[metric].value)
        for metric, margin in policy.margins.items()
    )


def distance_rules(columns: Iterable[Column], windows: int, policy: WindowRules, unit: str) -> Iterator[Rule]:
    """Yield a rule for each column: it fires if the column is further from the reference than usual in every window.

    `unit` names what the length of a window counts.
    """
    watched = registered().task.watched
    if windows < policy.persistence:
        why = (
            f"Only {windows} of the {policy.persistence} windows of {policy.blocks} {unit} that must agree is complete."
        )
        yield Rule(
            name="windows", evidence="inputs", fired=False, figure=windows, threshold=policy.persistence, why=why
        )
        return
    for column in columns:
        fired = column.excess > 1
        distance, limit = _least_excess(column)
        evidence: Evidence = "predictions" if column.name in watched else "inputs"
        subject = f"predictions {column.name}" if column.name in watched else column.name
        if fired:
            distances = f"at least {distance:.3f} away (Jensen-Shannon) from what the champion learned from"
            why = f"{subject}: {distances} in each of {windows} windows; usual is up to {limit:.3f}."
        else:
            why = f"{subject}: within what is usual."
        yield Rule(name=column.name, evidence=evidence, fired=fired, figure=distance, threshold=limit, why=why)


def age_rule(blocks: int, policy: Drift, unit: str) -> Rule:
    """Return the rule about the champion's age: `blocks` is the number of `unit` since its holdout."""
    fired = blocks > policy.maximum_age
    why = f"{blocks} {unit} came since the champion's holdout, the maximum is {policy.maximum_age}."
    return Rule(name="age", evidence="age", fired=fired, figure=blocks, threshold=policy.maximum_age, why=why)


def summary(rules: Sequence[Rule], decisive: Sequence[Rule], *, as_good: bool) -> str:
    """Return the decision and its most important reason in one sentence."""
    if decisive:
        others = f" ({counted(len(decisive) - 1, 'more rule')} fired)" if len(decisive) > 1 else ""
        return f"A new model is called for: {decisive[0].why}{others}"
    if fired := sum(rule.fired for rule in rules):
        return (
            f"Nothing to do: {fired} of inputs and predictions moved, "
            "but labels show the champion to be as good as on its holdout."
        )
    if as_good:
        return "Nothing to do: the champion is as good as on its holdout."
    return "Nothing to do: no rule fired."


def _least_excess(column: Column) -> tuple[float, float]:
    """Return distance and threshold of the window that exceeds its threshold the least."""
    pairs = zip(column.distance, column.threshold, strict=True)
    return min(pairs, key=lambda pair: pair[0] / pair[1])


def _labels(name: str, bins: Bins) -> list[str]:
    """Return the names of a column's bins; those of a private column are numbered, so that no value is shown."""
    if not any(private(schema, [name]) for schema in registered().schemas.values()):
        return bins.labels
    return [bins.labels[0], *(f"(bin {index})" for index in range(1, len(bins.labels)))]


def _stretches(labelled: Labelled, blocks: Sequence[str], policy: Drift) -> list[Labelled]:
    """Return the labelled rows in stretches of a window's length, the newest whole; empty stretches are left out."""
    length = policy.window.blocks
    starts = range(len(blocks) % length, len(blocks), length)
    stretches = (labelled.filter(pl.col("block").is_in(blocks[start : start + length])) for start in starts)
    return [rows for rows in stretches if len(rows)]


def _window_of(rows: Labelled, figures: Figures) -> Window:
    blocks = rows["block"]
    return Window(first=blocks[0], last=blocks[-1], rows=rows.height, performance=dict(figures))
