"""The challenger against the champion: overall, slice by slice, and against the best of former champions."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .. import stats
from ..adapters import git
from ..adapters.dvc_files import opened
from ..config.gates import Champion as ChampionRules
from ..config.gates import Gates
from ..data.contract import private
from ..errors import UserError
from ..holdout import Holdout
from ..paths import CHAMPION
from ..project import registered
from ..stats import Bools, Difference, Floats, Ints
from ..verdict import Check, Comparison, Result
from . import changed, checks, rows
from .champion import Champion, Judge, Scored, Workshop, earlier, find
from .checks import Ledger
from .rows import key, keyed

# DOC gate.duel: Challenger against champion on the same rows: overall it must be shown to be at most a margin worse.

Strings = NDArray[np.str_]
EVERY = slice(None)


@dataclass(frozen=True)
class Duel:
    """Labels and both models' scores of N rows, the block (day, from 0) of each, and the resamples of blocks."""

    label: Bools
    champion: Floats
    challenger: Floats
    block: Ints
    weights: Floats

    def difference(self, metric: str, rows: Bools | slice = EVERY) -> Difference | None:
        """Compare the two on some of the rows."""
        scores = self.champion[rows], self.challenger[rows]
        return stats.difference(
            registered().all_metrics[metric], self.label[rows], scores, self.block[rows], self.weights
        )


@dataclass(frozen=True)
class Arena:
    """The challenger's scores of the holdout's N rows, shape (N,), and what each comparison of them takes.

    Blocks and slices are what the main table says of them, if it has such columns, or else what the champion's features
    say: the challenger's could rename their values.
    `labels` holds key and label of every row of the main table, whether or not the features have it.
    """

    rules: Gates
    holdout: Holdout
    score: Floats
    labels: pl.DataFrame

    def column(self, name: str, setting: str) -> Strings:
        """Return a feature column as texts, shape (N,); raise `UserError` naming the `setting` of gates.yaml."""
        table = self.holdout.table
        if name not in table.columns:
            has = ", ".join(table.columns)
            raise UserError(f"gates.yaml: {setting}: the features have no column {name}, they have {has}")
        try:
            return text(table[name])
        except pl.exceptions.PolarsError:
            raise UserError(
                f"gates.yaml: {setting}: the column {name} has type {table[name].dtype}, whose values are no texts, "
                "numbers or times: name another"
            ) from None

    def duel(self, rival: pl.DataFrame) -> tuple[Duel, Bools]:
        """Return both models on the rows (key and score) that the rival has too, and which rows of the N these are.

        Raise `UserError` if there are none.
        """
        keys, mine = key(), keyed(self.holdout.table, "the features")
        try:
            theirs = mine.select(keys).join(
                rival.select(*keys, "score"), on=keys, how="left", nulls_equal=True, maintain_order="left"
            )["score"]
        except pl.exceptions.SchemaError as error:
            raise UserError(f"the key has another type in the features than for the champion: {error}") from None
        common: Bools = theirs.is_not_null().to_numpy()
        if not common.any():
            raise UserError("the champion knows none of the holdout's rows: have their keys changed?")
        days = self.column(self.rules.bootstrap.block, "bootstrap.block")[common]
        _, day = np.unique(days, return_inverse=True)
        weights = stats.draw(int(day.max()) + 1, self.rules.bootstrap.resamples, self.rules.bootstrap.seed)
        scores = theirs.drop_nulls().cast(pl.Float64).to_numpy(), self.score[common]
        return Duel(self.holdout.label[common], *scores, day, weights), common


def text(column: pl.Series) -> Strings:
    """Give a column's values as text, shape (N,); null is a value too."""
    return column.cast(pl.String).fill_null("(unknown)").to_numpy().astype(np.str_)


def compare(found: Difference, metric: str, margin: float, confidence: float, rows: int) -> Comparison:
    """Put a difference into the words of the verdict."""
    return Comparison(
        metric=metric,
        rows=rows,
        days=found.blocks,
        champion=found.champion,
        challenger=found.challenger,
        worse_by=found.worse_by,
        low=found.at_least(confidence),
        high=found.at_most(confidence),
        margin=margin,
    )


def overall(duel: Duel, settings: ChampionRules) -> tuple[list[Check], list[Comparison]]:
    """Judge the whole holdout, metric by metric."""
    checks, comparisons = [], []
    for metric, margin in settings.margins.items():
        found = duel.difference(metric)
        name = f"champion: {metric}"
        if found is None:
            why = (
                f"{metric} cannot be compared: the holdout has fewer than {stats.MIN_BLOCKS} days, or one class alone."
            )
            checks.append(Check(name=name, result="block", limit=margin, why=why))
            continue
        comparison = compare(found, metric, margin, settings.confidence, len(duel.label))
        comparisons.append(comparison)
        needed = found.blocks_needed(margin, settings.confidence)
        result = "pass" if comparison.high <= margin else "block"
        why = _why(comparison, settings.confidence, needed)
        checks.append(Check(name=name, result=result, figure=comparison.high, limit=margin, why=why))
    return checks, comparisons


def _why(seen: Comparison, confidence: float, needed: int) -> str:
    sure = f"{seen.metric} is {_worse(seen.worse_by)} ({seen.champion:.4f} → {seen.challenger:.4f})"
    bound = f"with {confidence:.0%} confidence at most {seen.high:.4f} worse"
    if seen.high <= seen.margin:
        return f"{sure}, {bound}."
    if seen.worse_by > seen.margin and seen.low > 0:
        return f"{sure}: more than the margin."
    if needed > seen.days:
        rows = needed * seen.rows // seen.days
        return (
            f"{sure}, but {seen.days} days are too few for this margin ({bound}): about {needed:,} days "
            f"({rows:,} rows) are needed to show that an equal model is one; hold out more, or widen the margin."
        )
    return f"{sure}, {bound}: more than the margin."


def _worse(by: float) -> str:
    return f"{abs(by):.4f} {'worse' if by > 0 else 'better'}" if by else "the same"


# DOC gate.anchor: Against many small losses, each within its margin: the best of the last champions is not forgotten.


def judge_anchor(arena: Arena, champion: Champion, judges: Judge) -> Iterator[Check]:
    """Compare with the best of the champions before this one, metric by metric, each scored as its commit would.

    One that cannot be scored is a warning; raise `UserError` if none of them can.
    """
    settings = arena.rules.anchor
    formers, unreadable = earlier(champion, settings)
    formers = [one for one in formers if not one.newest or one.newest <= arena.holdout.partition]  # else trained on it
    duels, reasons = dict[str, Duel](), [f"{unreadable} hold no readable dvc.lock"] if unreadable else []
    for former in formers:
        try:
            duels[former.name], _ = arena.duel(judges.score(former).rows)
        except UserError as error:
            reasons.append(str(error))
    if reasons:
        way = "lower anchor.champions in gates.yaml, or name the commit as anchor.after"
        if formers and not duels:
            raise UserError(f"none of the earlier champions can be scored ({reasons[0]}): {way}")
        all_, lost = len(formers) + unreadable, len(formers) + unreadable - len(duels)
        why = f"{lost} of {all_} earlier champions cannot be scored ({reasons[0]}): if that is to stay so, {way}."
        yield Check(name="anchor", result="warn", why=why)
    if duels:
        margins = settings.margins or {name: 2 * margin for name, margin in arena.rules.champion.margins.items()}
        for metric, margin in margins.items():
            yield _anchor_check(arena, duels, metric, margin)


def _anchor_check(arena: Arena, duels: dict[str, Duel], metric: str, margin: float) -> Check:
    """Check that the challenger is shown to be at most `margin` worse than the best of them."""
    measure, confidence, name = registered().all_metrics[metric], arena.rules.champion.confidence, f"anchor: {metric}"
    sign = 1 if measure.greater_is_better else -1
    worth = {commit: sign * measure(duel.label, duel.champion) for commit, duel in duels.items()}
    told = {commit: value for commit, value in worth.items() if value == value}  # not NaN
    best = max(told, key=told.__getitem__, default=None)
    found = duels[best].difference(metric) if best else None
    if found is None:
        why = f"{metric} cannot be compared with earlier champions: the holdout has too few days, or one class alone."
        return Check(name=name, result="block", limit=margin, why=why)
    high = found.at_most(confidence)
    change = f"{abs(found.worse_by):.4f} {'worse' if found.worse_by > 0 else 'better'}"
    why = (
        f"{metric} is {change} ({found.champion:.4f} → {found.challenger:.4f}) than that of {best}, the best of the "
        f"last {len(duels)} champions before main's, with {confidence:.0%} confidence at most {high:.4f} worse"
    )
    if high <= margin:
        return Check(name=name, result="pass", figure=high, limit=margin, why=f"{why}.")
    why += ": small losses add up; find what lost it, or decide on it with anchor.after in gates.yaml."
    return Check(name=name, result="block", figure=high, limit=margin, why=why)


# DOC gate.slices: A model that is better on the whole must not be bought with one airline or one hour of the day.
# Values of a column that are too small to be judged alone are judged together, as one more slice; none is left out.

NAMED_SLICES = 12  # values named in one sentence; a column may have thousands


@dataclass(frozen=True)
class Slice:
    """One value of a column, or several small ones together (`members`), and how the challenger does there."""

    column: str
    value: str
    rows: int
    seen: Difference
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """The slices of one column, its small values one by one, and those that nothing can be said of."""

    column: str
    slices: list[Slice]
    small: list[Slice]
    left: list[str]


def judge_slices(duel: Duel, columns: dict[str, Strings], gates: Gates) -> tuple[list[Check], list[Comparison]]:
    """Judge every value of every column (texts, shape (N,)), the small ones of a column together.

    Blocks if a slice is shown worse by more than the margin, with Holm's correction over all slices of all columns.
    Warns if one is shown worse at all, if one of enough rows seems worse by more than the margin, or if a small value
    by itself is shown worse by more than the margin, with Holm's correction over all small values: these only warn, so
    that looking at each of them makes no equal model blocked.
    """
    rules, level = gates.slices, 1 - gates.champion.confidence
    splits = [split(duel, column, values, rules.metric, rules.minimum_rows) for column, values in columns.items()]
    every = [one for found in splits for one in found.slices]
    too_much = stats.holm([one.seen.p_value(rules.margin) for one in every], level)
    at_all = stats.holm([one.seen.p_value(0) for one in every], level)
    results: dict[tuple[str, str], Result] = {}
    for one, much, some in zip(every, too_much, at_all, strict=True):
        seems = one.rows >= rules.minimum_rows and one.seen.worse_by > rules.margin
        results[one.column, one.value] = "block" if much else "warn" if some or seems else "pass"
    small = [one for found in splits for one in found.small]
    bad = stats.holm([one.seen.p_value(rules.margin) for one in small], level)
    suspects = [one for one, shown in zip(small, bad, strict=True) if shown]
    comparisons = [
        compare(one.seen, rules.metric, rules.margin, gates.champion.confidence, one.rows).model_copy(
            update={"column": one.column, "value": one.value, "members": list(one.members)}
        )
        for one in every
    ]
    return [_slices_check(found, results, suspects, gates) for found in splits], comparisons


def split(duel: Duel, column: str, values: Strings, metric: str, minimum_rows: int) -> Split:
    """Compare the models on each value of one column, and on all those together that cannot be judged alone.

    These have fewer than `minimum_rows` rows or too few days, or the metric cannot be told, e.g. of one class alone.
    """
    names, place, rows = np.unique(values, return_inverse=True, return_counts=True)
    large, small = list[Slice](), list[Slice]()
    alone = np.zeros(len(names), np.bool_)
    for number, (name, count) in enumerate(zip(names, rows, strict=True)):
        if (seen := _difference(duel, metric, place, number)) is None:
            continue
        alone[number] = count >= minimum_rows
        (large if alone[number] else small).append(Slice(column, str(name), int(count), seen))
    rest = [str(name) for name in names[~alone]]
    together = duel.difference(metric, ~alone[place]) if rest else None
    if together is None:
        return Split(column, large, small, rest)
    if len(rest) == 1:  # it is its own pool: judged like the others, under its own name
        return Split(column, [*large, Slice(column, rest[0], int(rows[~alone].sum()), together)], [], [])
    pool = Slice(column, f"({len(rest)} small ones)", int(rows[~alone].sum()), together, tuple(rest))
    return Split(column, [*large, pool], small, [])


def _difference(duel: Duel, metric: str, place: Ints, number: int) -> Difference | None:
    mine: Bools = place == number
    if len(np.unique(duel.block[mine])) < stats.MIN_BLOCKS:  # cheap, and most values of a long column end here
        return None
    return duel.difference(metric, mine)


def _slices_check(found: Split, results: dict[tuple[str, str], Result], suspects: list[Slice], gates: Gates) -> Check:
    column, metric, margin = found.column, gates.slices.metric, gates.slices.margin
    name = f"slices: {column}"
    aside = (
        f" Not judged (too few rows or days, or {metric} cannot be told): {_list(found.left)}." if found.left else ""
    )
    if not found.slices:
        why = f"No slice can be judged.{aside} Wait for more days, or drop the column."
        return Check(name=name, result="warn", limit=margin, why=why)
    figure = max(one.seen.worse_by for one in found.slices)
    mine = sorted((one for one in suspects if one.column == column), key=lambda one: -one.seen.worse_by)[:NAMED_SLICES]
    pool = next((one for one in found.slices if one.members), None)
    together = f" Small ones judged together: {_list(pool.members)} ({pool.rows:,} rows)." if pool else ""
    for result, words in (("block", "shown worse by more than the margin"), ("warn", "worse, or seem so")):
        bad = [one for one in found.slices if results[column, one.value] == result]
        if bad or (mine and result == "warn"):
            worst = ", ".join(_named(one) for one in [*bad, *mine])
            why = f"{metric} {words}: {worst}.{together}{aside}"
            return Check(name=name, result=result, figure=figure, limit=margin, why=why)
    why = f"None of {len(found.slices)} slices is shown worse in {metric}.{together}{aside}"
    return Check(name=name, result="pass", figure=figure, limit=margin, why=why)


def _named(one: Slice) -> str:
    return f"{one.value} by {one.seen.worse_by:.4f} ({one.rows:,} rows)"


def _list(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMED_SLICES:,} more" if len(names) > NAMED_SLICES else ""
    return ", ".join(names[:NAMED_SLICES]) + more


# DOC gate.relative: The challenger against the champion: who that is, whether it can be compared fairly, overall, and
# slice by slice.


def judge(rules: Gates, judged: Holdout, score: Floats, ref: str | None, ledger: Ledger) -> None:
    """Add what takes the data itself: coverage, and the checks against the champion at `ref`, or main.

    Raise `UserError` if the data cannot be had, or a champion cannot be compared.
    """
    found = find(ref)
    with opened() as store:
        data = rows.today(store)
        main_table, whole = data.main(judged.partition), None
        labels = rows.labels(main_table)
        with ledger.check(rows.COVERAGE):
            whole = rows.check_coverage(judged, labels, rules.coverage)
            ledger.add(whole)
        if whole is None:  # these are not the main table's rows, so there is nothing to compare
            return
        described = rows.described(judged.table, main_table, [rules.bootstrap.block, *rules.slices.columns])
        arena = Arena(rules, replace(judged, table=described), score, labels)
        arena.column(rules.bootstrap.block, "bootstrap.block")
        for name in rules.slices.columns:
            if private(rows.schema(), [name]):
                raise UserError(f"gates.yaml: slices.columns: {name} is private, and a report names values: drop it")
            arena.column(name, "slices.columns")
        if found is None:
            why = "There is no champion yet: main has no dvc.lock. This model becomes the first."
            ledger.add(Check(name="champion", result="pass", why=why))
            ledger.add(*checks.check_limits(rules, judged.label, score, judged.prior))
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
    ledger.add(*changed.check_data(found, judges.data, arena.holdout.partition))
    scored = judges.score(found)
    arena = _as_champion_has_them(arena, found, scored, judges, ledger)
    duel, common = arena.duel(scored.rows)
    ledger.add(_origin(scored, int(common.sum()), arena.holdout.table.height))
    ledger.add(*changed.check_label(arena.labels, scored, found, judges))
    ledger.add(*checks.check_limits(rules, duel.label, duel.champion, arena.holdout.prior))
    scored.rows.select(*key(), "score").write_parquet(CHAMPION)
    columns = {name: arena.column(name, "slices.columns")[common] for name in rules.slices.columns}
    for results, comparisons in (overall(duel, rules.champion), judge_slices(duel, columns, rules)):
        ledger.add(*results)
        ledger.comparisons += comparisons
    with ledger.check("anchor"):
        ledger.add(*judge_anchor(arena, found, judges))


def _as_champion_has_them(arena: Arena, found: Champion, scored: Scored, judges: Judge, ledger: Ledger) -> Arena:
    """Take blocks and slices that only features have from the champion's: the challenger's could suit its needs."""
    rules, main = arena.rules, judges.data.main(arena.holdout.partition).collect_schema().names()
    names = [name for name in (rules.bootstrap.block, *rules.slices.columns) if name not in main]
    try:
        theirs = judges.features(found, scored.how) if names else None
        if theirs is None:
            return arena
        types = {name: arena.holdout.table.schema[name] for name in key()}
        table = rows.described(arena.holdout.table, theirs.cast(pl.Schema(types)).lazy(), names)
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
