"""What there is to tell: read once, checked once."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from pydantic import ValidationError

from ... import ml
from ...errors import UserError
from ...paths import LOCK, METRICS, PREDICTIONS, TRAINING, VERDICT
from .. import git
from ..event import Event, current
from ..gate.verdict import Verdict
from . import rival
from .curves import Bools, Floats

Read = TypeVar("Read")


@dataclass(frozen=True)
class Facts:
    """A verdict and what lies beside it; what a blocked gate came too early for is None.

    `label`, `score` and `rival` (the champion's scores, where they can be had) are of N holdout rows, shape (N,).
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
    verdict = _verdict()
    blocked = verdict.outcome == "block"
    label, score = _needed(PREDICTIONS, _predictions, blocked=blocked) or (None, None)
    return Facts(
        verdict=verdict,
        measured=_needed(METRICS, _metrics, blocked=blocked),
        label=label,
        score=score,
        rival=None if label is None else rival.score(verdict.champion, label),
        history=_needed(TRAINING, pl.read_csv, blocked=blocked),
        event=current(),
        base=verdict.champion and (git.merge_base(verdict.champion, "HEAD") or verdict.champion),
    )


def _verdict() -> Verdict:
    try:
        verdict = Verdict.model_validate_json(VERDICT.read_text())
    except FileNotFoundError:
        raise UserError(f"{VERDICT} is missing: run `make gate` first") from None
    except (ValidationError, UnicodeDecodeError):
        raise UserError(f"{VERDICT} is not a verdict as this version writes it: run `make gate` again") from None
    lock = hashlib.md5(LOCK.read_bytes(), usedforsecurity=False).hexdigest() if LOCK.exists() else None
    if verdict.lock != lock:
        raise UserError(f"{VERDICT} is about another {LOCK} than the one here: run `make gate` again")
    return verdict


def _metrics(path: Path) -> dict[str, Any]:
    measured: dict[str, Any] = json.loads(path.read_text())
    if measured["model"].keys() != measured["baseline"].keys():
        raise ValueError("model and baseline differ in their metrics")
    return measured


def _predictions(path: Path) -> tuple[Bools, Floats]:
    table = pl.read_parquet(path)
    return table[ml.LABEL].to_numpy().astype(bool), table["score"].to_numpy()


def _needed(path: Path, reader: Callable[[Path], Read], *, blocked: bool) -> Read | None:
    """Read a file that a stage wrote; behind a blocked gate it may be missing or broken."""
    try:
        return reader(path)
    except Exception as error:
        if blocked:
            return None
        what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({type(error).__name__})"
        raise UserError(f"{path} {what}: run `make pipeline`") from error
