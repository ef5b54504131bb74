"""The decision, from counts and labelled rows alone: pure functions, the same figures give the same answer.

Evidence is weighed in the order of its worth: labelled performance, then predictions, then inputs. Where labels show
the champion to be as good as on its holdout, within the margin, what merely looks different calls for nothing: seasons
come and go. Age always counts.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from ..config import Bootstrap, Drift
from ..data.contract import private
from ..project import registered
from ..reference.bins import Bins
from ..reference.counts import Counts
from ..reference.performance import Figure, Labelled, measure, plain
from ..reference.record import Reference
from ..stats.distance import jensen_shannon
from . import rules
from .decision import Column, Decision, Rule, Window

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
    performance = rules.performance(reference.holdout, figures, policy.performance)
    found = [*performance, *rules.moved(columns, len(parts), policy.window), rules.age(len(now.blocks), policy)]
    as_good = rules.as_good(reference.holdout, figures, policy.performance)
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
