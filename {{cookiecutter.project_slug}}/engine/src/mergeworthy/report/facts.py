"""What the report is made of: verdict, metrics, predictions and scores of the champion; and a section of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from .. import files, holdout
from ..adapters import git
from ..adapters.actions import Event, current
from ..errors import UserError
from ..paths import CHAMPION, LOCK, METRICS, PREDICTIONS, TRAINING, VERDICT
from ..project import registered
from ..stats import Bools, Floats
from ..verdict import Verdict

# DOC report.fit: What GitHub takes as one comment, whatever the size of the project.

LIMIT = 65_536 - 1_024  # of a comment, less what CML adds; as bytes, which are never fewer than characters


@dataclass(frozen=True)
class Section:
    """A part of the report; the highest `rank` is left out first, 0 never. `short` is the text without its details."""

    title: str
    text: str
    rank: int
    short: str | None = None


def fit(sections: Sequence[Section], limit: int = LIMIT) -> str:
    """Join sections; shorten, then drop the least important ones until `limit` bytes hold the rest, and say so."""
    kept, lost = list(sections), list[str]()
    while len(_joined(kept, lost).encode()) > limit and any(section.rank for section in kept):
        weakest = max(kept, key=lambda section: section.rank)
        if weakest.short is not None:
            kept[kept.index(weakest)] = replace(weakest, text=weakest.short, short=None)
            lost.append(f"the details of {weakest.title}")
        else:
            kept.remove(weakest)
            lost = [name for name in lost if name != f"the details of {weakest.title}"] + [weakest.title]
    return _joined(kept, lost)


def _joined(kept: Sequence[Section], lost: Sequence[str]) -> str:
    texts = [section.text for section in kept]
    if lost:
        texts.insert(-1, f"_Left out, as GitHub takes only so much in a comment: {', '.join(lost)}._")
    return "\n\n".join(texts) + "\n"


# DOC report.rival: The champion's scores on this holdout, as the gate noted them: a plot without them is a plot all
# the same.


def champion_scores(predictions: pl.DataFrame) -> Floats | None:
    """Return the champion's score of each row, shape (N,); None if the gate compared with none, or not on all rows."""
    try:
        keys = registered().key
        found = predictions.select(keys).join(
            pl.read_parquet(CHAMPION), on=keys, how="left", nulls_equal=True, maintain_order="left"
        )["score"]
    except (OSError, UserError, pl.exceptions.PolarsError):
        return None
    return None if found.null_count() or len(found) != predictions.height else found.to_numpy()


# DOC report.facts: What there is to tell: read once, checked once.

Read = TypeVar("Read")
MEND = "run `make pipeline`"


@dataclass(frozen=True)
class Facts:
    """A verdict and what lies beside it; what a blocked gate came too early for is None.

    `label`, `score` and `rival` (the champion's scores, if the gate noted them) are of N holdout rows, shape (N,).
    `base` is the commit that changes are told against: where this branch left the champion's.
    """

    verdict: Verdict
    measured: dict[str, Any] | None
    label: Bools | None
    score: Floats | None
    rival: Floats | None
    history: pl.DataFrame | None
    event: Event
    base: str | None


def read() -> Facts:
    """Read them; raise `UserError` where one is missing or cannot be read and the gate has not said so already."""
    verdict = read_verdict()
    blocked = verdict.outcome == "block"
    label, score, rivals = _needed(PREDICTIONS, _predictions, blocked=blocked) or (None, None, None)
    return Facts(
        verdict=verdict,
        measured=_needed(METRICS, read_metrics, blocked=blocked),
        label=label,
        score=score,
        rival=rivals if verdict.champion else None,
        history=_needed(TRAINING, _history, blocked=blocked),
        event=current(),
        base=verdict.champion and (git.merge_base(verdict.champion, "HEAD") or verdict.champion),
    )


def read_verdict() -> Verdict:
    """Return what the gate said of this dvc.lock; raise `UserError` if it said it of another one."""
    verdict = files.read_record(VERDICT, Verdict, "a verdict", "run `make gate`")
    lock = files.md5(LOCK) if LOCK.exists() else None
    if verdict.lock != lock:
        raise UserError(f"{VERDICT} is about another {LOCK} than the one here: run `make gate` again")
    return verdict


def read_metrics(path: Path = METRICS) -> dict[str, Any]:
    """Return what evaluation measured; raise `UserError` if a part of it is missing."""
    measured = files.read_mapping(path, MEND)
    model, baseline = measured.get("model"), measured.get("baseline")
    if not isinstance(model, dict) or not isinstance(baseline, dict) or model.keys() != baseline.keys():
        raise UserError(f"{path}: model and baseline: the same metrics of both are expected: {MEND}")
    for name in ("partition", "rows", "positive_share"):
        if name not in measured:
            raise UserError(f"{path}: {name} is missing: {MEND}")
    return measured


def _predictions(path: Path) -> tuple[Bools, Floats, Floats | None]:
    table = files.read_parquet(path, MEND, [registered().target, "score"])
    return holdout.labels(table, path), table["score"].to_numpy(), champion_scores(table)


def _history(path: Path) -> pl.DataFrame:
    return files.read_csv(path, MEND)


def _needed(path: Path, reader: Callable[[Path], Read], *, blocked: bool) -> Read | None:
    """Read a file that a stage wrote; behind a blocked gate it may be missing or broken."""
    try:
        return reader(path)
    except UserError:
        if blocked:
            return None
        raise
