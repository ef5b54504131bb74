"""What there is to tell: read once, checked once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from .. import files, label
from ..adapters import git
from ..adapters.event import Event, current
from ..errors import UserError
from ..paths import LOCK, METRICS, PREDICTIONS, TRAINING, VERDICT
from ..project import registered
from ..verdict import Verdict
from . import rival
from .curves import Bools, Floats

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
    return label.values(table, path), table["score"].to_numpy(), rival.score(table)


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
