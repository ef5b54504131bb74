"""The challenger against the champion: who that is, whether it can be compared fairly, overall, and slice by slice."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from ..adapters import git
from ..adapters.dvc_store import opened
from ..config import Gates
from ..data.contract import private
from ..errors import UserError
from ..holdout import Holdout
from ..paths import CHAMPION
from ..stats.bootstrap import Floats
from ..verdict import Check
from . import anchor, coverage, label, moved, partition, policy, slices
from .champion import Champion, find
from .duel import Arena, overall
from .ledger import Ledger
from .own_code import Workshop
from .partition import key
from .scoring import Judge, Scored


def judge(rules: Gates, judged: Holdout, score: Floats, ref: str | None, ledger: Ledger) -> None:
    """Add what takes the data itself: coverage, and the checks against the champion at `ref`, or main.

    Raise `UserError` if the data cannot be had, or a champion cannot be compared.
    """
    found = find(ref)
    with opened() as store:
        data = partition.today(store)
        rows, whole = data.main(judged.partition), None
        labels = partition.labels(rows)
        with ledger.check(coverage.NAME):
            whole = coverage.check(judged, labels, rules.coverage)
            ledger.add(whole)
        if whole is None:  # these are not the main table's rows, so there is nothing to compare
            return
        described = partition.described(judged.table, rows, [rules.bootstrap.block, *rules.slices.columns])
        arena = Arena(rules, replace(judged, table=described), score, labels)
        arena.column(rules.bootstrap.block, "bootstrap.block")
        for name in rules.slices.columns:
            if private(partition.schema(), [name]):
                raise UserError(f"gates.yaml: slices.columns: {name} is private, and a report names values: drop it")
            arena.column(name, "slices.columns")
        if found is None:
            why = "There is no champion yet: main has no dvc.lock. This model becomes the first."
            ledger.add(Check(name="champion", result="pass", why=why))
            ledger.add(*policy.check(rules, judged.label, score, judged.prior))
            return
        ledger.champion = found.commit
        if not np.isfinite(score).all():
            raise UserError("the challenger's scores are not all finite, so there is nothing to compare")
        with tempfile.TemporaryDirectory(prefix="champion-") as scratch:
            workshop = Workshop(Path(scratch), data, 60 * rules.champion.minutes)
            _against(arena, found, Judge(judged, data, workshop, rules.champion.if_code_fails), ledger)


def _against(arena: Arena, found: Champion, judges: Judge, ledger: Ledger) -> None:
    """Add the checks of champion, label, slices and anchor."""
    rules = arena.rules
    if found.newest and found.newest > arena.holdout.partition:
        ledger.add(_unfair(found, arena.holdout.partition))
    ledger.add(*moved.check(found, judges.data, arena.holdout.partition))
    scored = judges.score(found)
    arena = _as_champion_has_them(arena, found, scored, judges, ledger)
    duel, common = arena.duel(scored.rows)
    ledger.add(_origin(scored, int(common.sum()), arena.holdout.table.height))
    ledger.add(*label.check(arena.labels, scored, found, judges))
    ledger.add(*policy.check(rules, duel.label, duel.champion, arena.holdout.prior))
    scored.rows.select(*key(), "score").write_parquet(CHAMPION)
    columns = {name: arena.column(name, "slices.columns")[common] for name in rules.slices.columns}
    for checks, comparisons in (overall(duel, rules.champion), slices.judge(duel, columns, rules)):
        ledger.add(*checks)
        ledger.comparisons += comparisons
    with ledger.check("anchor"):
        ledger.add(*anchor.judge(arena, found, judges))


def _as_champion_has_them(arena: Arena, found: Champion, scored: Scored, judges: Judge, ledger: Ledger) -> Arena:
    """Take blocks and slices that only features have from the champion's: the challenger's could suit its needs."""
    rules, main = arena.rules, judges.data.main(arena.holdout.partition).collect_schema().names()
    names = [name for name in (rules.bootstrap.block, *rules.slices.columns) if name not in main]
    try:
        theirs = judges.features(found, scored.how) if names else None
        if theirs is None:
            return arena
        types = {name: arena.holdout.table.schema[name] for name in key()}
        table = partition.described(arena.holdout.table, theirs.cast(pl.Schema(types)).lazy(), names)
    except (UserError, pl.exceptions.PolarsError) as error:
        why = (
            f"{', '.join(names)} are as this commit's features have them, for the champion's cannot be had "
            f"({str(error).splitlines()[0]}): a reviewer looks at what changed in them."
        )
        ledger.add(Check(name="champion: columns", result="warn", why=why))
        return arena
    return replace(arena, holdout=replace(arena.holdout, table=table))


def _origin(scored: Scored, common: int, rows: int) -> Check:
    """Say how the champion was scored; warn if that is less than its own commit's word on all rows."""
    result, why = "warn" if scored.how == "todays features" else "pass", scored.why
    if common < rows:
        result = "warn"
        why += f" It lacks {rows - common:,} of {rows:,} rows of the holdout: the two are compared on the other ones."
    return Check(name="champion", result=result, figure=common / rows, limit=1, why=why)


def _unfair(found: Champion, partition: str) -> Check:
    behind = not git.is_ancestor(found.commit, "HEAD")
    why = (
        f"The champion had data up to {found.newest}, so it may have been trained on {partition}, which flatters it: "
        + ("merge main first." if behind else "compare with care, data.dvc went back.")
    )
    return Check(name="champion: data", result="warn", why=why)
