"""The challenger against the champion: who that is, whether it can be compared fairly, overall, and slice by slice."""

import numpy as np
import polars as pl

from ...errors import UserError
from ...holdout import Holdout
from ...settings import Gates
from ...stats import bootstrap
from ...stats.bootstrap import Floats
from .. import git
from . import scoring, slices
from .champion import Champion, find
from .duel import Duel, Strings, overall, text
from .ledger import Ledger
from .verdict import Check


def judge(rules: Gates, holdout: Holdout, score: Floats, ref: str | None, ledger: Ledger) -> None:
    """Add the champion's and the slices' checks; raise `UserError` where a champion cannot be compared."""
    block = _column(holdout.table, rules.bootstrap.block, "bootstrap.block")
    columns = {name: _column(holdout.table, name, "slices.columns") for name in rules.slices.columns}
    found = find(ref)
    if found is None:
        why = "There is no champion yet: main has no dvc.lock. This model becomes the first."
        ledger.add(Check(name="champion", result="pass", why=why))
        return
    ledger.champion = found.commit
    if not np.isfinite(score).all():
        raise UserError("the challenger's scores are not all finite, so there is nothing to compare")
    if found.newest and found.newest > holdout.partition:
        ledger.add(_unfair(found, holdout.partition))
    _, day = np.unique(block, return_inverse=True)
    weights = bootstrap.draw(int(day.max()) + 1, rules.bootstrap)
    duel = Duel(holdout.label, scoring.champion(found, holdout.table), score, day, weights)
    for checks, comparisons in (overall(duel, rules.champion), slices.judge(duel, columns, rules)):
        ledger.add(*checks)
        ledger.comparisons += comparisons


def _unfair(found: Champion, partition: str) -> Check:
    behind = not git.is_ancestor(found.commit, "HEAD")
    why = (
        f"The champion had data up to {found.newest}, so it may have been trained on {partition}, which flatters it: "
        + ("merge main first." if behind else "compare with care, data.dvc went back.")
    )
    return Check(name="champion: data", result="warn", why=why)


def _column(table: pl.DataFrame, name: str, key: str) -> Strings:
    if name not in table.columns:
        raise UserError(f"gates.yaml: {key}: the features have no column {name}, they have {', '.join(table.columns)}")
    return text(table[name])
