"""Whether data, model and figures belong together: what is judged must be what was made, and what ships."""

import hashlib
import math
from typing import Any

import numpy as np
import polars as pl
from onnxruntime import InferenceSession

from .. import artifact, files
from ..adapters import dvc_files, event, git
from ..adapters import provenance as made
from ..errors import UserError
from ..holdout import Holdout
from ..paths import CONTRACT, DATA_DVC, LOCK, METRICS, MODEL, PREDICTIONS
from ..project import registered
from ..stats.bootstrap import Floats
from ..verdict import Check
from .partition import key

ALONE, TOGETHER = 64, 4_096  # rows scored one by one, and as one batch in reverse order
DIFFERENT = 1e-5  # between scores of one row: float32 sums differ a little with the size of a batch
SAME = 1e-6  # scores are float32: another processor may differ in the last digits
MEND = "run `make pipeline`"


def contract(holdout: str) -> Check:
    """Check that data.dvc's partitions passed validation, the lock was made from them, the newest is the holdout."""
    data = dvc_files.read(DATA_DVC)
    checked = files.read_mapping(CONTRACT, MEND).get("partitions")
    if not isinstance(checked, dict):
        raise UserError(f"{CONTRACT}: partitions: a mapping is expected, not {checked!r}: {MEND}")
    named = set(dvc_files.partitions(data))
    if missing := sorted(named - checked.keys()):
        raise UserError(f"{CONTRACT} does not cover partition {', '.join(missing)} of {DATA_DVC}: {MEND}")
    if holdout != max(named, default=None):
        raise UserError(f"features/{holdout}.parquet is not the newest partition of {DATA_DVC}: {MEND}")
    if dvc_files.data(dvc_files.read(LOCK), str(LOCK)) != data["outs"][0]["md5"]:
        raise UserError(f"{LOCK} was made from other data than {DATA_DVC} names: {MEND}")
    return Check(name="data contract", result="pass", why=f"All {len(named)} partitions passed validation.")


def evaluation(model: bytes, measured: dict[str, Any]) -> Check:
    """Check that the model is the locked one, and scored again gives the figures that were reported."""
    if hashlib.md5(model, usedforsecurity=False).hexdigest() != dvc_files.model(dvc_files.read(LOCK), str(LOCK)):
        raise UserError(f"{MODEL} is not the file that {LOCK} records: {MEND}")
    reported = dvc_files.flat(files.read_mapping(METRICS, MEND), ".")
    figures = dvc_files.flat(measured, ".")
    if strange := sorted(reported.keys() - figures.keys()):
        raise UserError(f"{METRICS} holds {strange[0]!r}, which evaluation does not measure: {MEND}")
    for name, value in figures.items():
        if name not in reported:
            raise UserError(f"{METRICS} lacks {name}: {MEND}")
        if not _same(value, reported[name]):
            raise UserError(f"{METRICS} says {name} is {reported[name]}, the model itself gives {value}: {MEND}")
    return Check(name="evaluation", result="pass", why="The shipped model, scored again, gives the reported figures.")


def recorded(holdout: Holdout, score: Floats) -> None:
    """Raise `UserError` unless the recorded predictions, which later models are compared with, are the model's own.

    `score` holds its scores of the holdout, shape (N,).
    """
    names = [*key(), registered().target]
    if files.md5(PREDICTIONS, MEND) != dvc_files.outs(dvc_files.read(LOCK)).get(PREDICTIONS.as_posix()):
        raise UserError(f"{PREDICTIONS} is not the file that {LOCK} records: {MEND}")
    found = files.read_parquet(PREDICTIONS, MEND, [*names, "score"])
    if any(name not in holdout.table.columns for name in names):
        return  # which the check of coverage says
    try:
        same = found.select(names).equals(holdout.table.select(names)) and np.allclose(
            found["score"].cast(pl.Float64).to_numpy(), score, rtol=SAME, atol=SAME, equal_nan=True
        )
    except (pl.exceptions.PolarsError, TypeError):
        same = False
    if not same:
        raise UserError(f"{PREDICTIONS} does not hold what the model itself predicts of the holdout: {MEND}")


def provenance() -> Check:
    """Check that CI made what dvc.lock names, if gates.yaml wants that; in a pull request, which is where CI trains."""
    this = event.current()
    base = git.merge_base(this.commit, this.champion) if this.champion else None
    found = made.origin(base)
    if made.accepted(found):
        return Check(name="provenance", result="pass", why=found.sentence)
    if this.pull_request is None:
        why = f"{found.sentence} In a pull request CI makes it anew, as gates.yaml wants (provenance.trained_by)."
        return Check(name="provenance", result="warn", why=why)
    why = f"{found.sentence} gates.yaml wants one (provenance.trained_by): let the workflow's job `train` run."
    return Check(name="provenance", result="block", why=why)


def batch(session: InferenceSession, table: pl.DataFrame, score: Floats) -> Check:
    """Check that a row's score depends on that row alone: the service scores rows one by one, the gate all together.

    A sample of rows is scored in reverse order as a batch of its own, and part of it row by row. `score` holds the
    scores of the whole `table`, shape (N,). Raises `UserError` if the model cannot score so few rows.
    """
    chosen = np.random.default_rng(0).permutation(table.height)[:TOGETHER]
    single = chosen[:ALONE]
    try:
        together = artifact.predict(session, table[chosen[::-1]])[::-1].astype(np.float64)
        alone = np.concatenate([artifact.predict(session, table[[row]]) for row in single]).astype(np.float64)
    except Exception as error:  # noqa: BLE001 - whatever the runtime raises, the service would answer with it
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{MODEL} scores the whole holdout, but not a row alone or in a smaller batch: {reason}"
        ) from None
    far = {"in another batch and order": _apart(together, score[chosen]), "alone": _apart(alone, score[single])}
    figure = max(float(apart.max()) for apart in far.values())
    changed = [
        f"{(apart > DIFFERENT).sum():,} of {len(apart):,} rows {how}"
        for how, apart in far.items()
        if apart.max() > DIFFERENT
    ]
    if not changed:
        why = f"A row has the same score among all, alone ({len(single)} tried), and in another batch and order."
        return Check(name="batch", result="pass", figure=figure, limit=DIFFERENT, why=why)
    why = (
        f"Other scores than among the whole holdout: {', '.join(changed)} (by up to {figure:.4f}). The service would "
        "answer otherwise than what is judged here: make a row's score depend on that row alone, the same each time."
    )
    return Check(name="batch", result="block", figure=figure, limit=DIFFERENT, why=why)


def _apart(one: Floats, other: Floats) -> Floats:
    """Return how far two scores of each row are apart; 0 if both are NaN, infinite if one is."""
    apart = np.where(np.isnan(one) & np.isnan(other), 0, np.abs(one - other))
    return np.nan_to_num(apart, nan=np.finfo(np.float64).max)


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=SAME, abs_tol=SAME)
    return one == other
