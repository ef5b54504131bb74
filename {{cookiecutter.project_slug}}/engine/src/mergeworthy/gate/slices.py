"""A model that is better on the whole must not be bought with one airline or one hour of the day.

Values of a column that are too small to be judged alone are judged together, as one more slice; none is left out.
"""

from dataclasses import dataclass

import numpy as np

from ..config import Gates
from ..stats import bootstrap
from ..stats.bootstrap import Bools, Difference, Ints
from ..verdict import Check, Comparison, Result
from .duel import Duel, Strings, compare

NAMED = 12  # values named in one sentence; a column may have thousands


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


def judge(duel: Duel, columns: dict[str, Strings], gates: Gates) -> tuple[list[Check], list[Comparison]]:
    """Judge every value of every column (texts, shape (N,)), the small ones of a column together.

    Blocks if a slice is shown worse by more than the margin, with Holm's correction over all slices of all columns.
    Warns if one is shown worse at all, if one of enough rows seems worse by more than the margin, or if a small value
    by itself is shown worse by more than the margin, with Holm's correction over all small values: these only warn, so
    that looking at each of them makes no equal model blocked.
    """
    rules, level = gates.slices, 1 - gates.champion.confidence
    splits = [split(duel, column, values, rules.metric, rules.minimum_rows) for column, values in columns.items()]
    every = [one for found in splits for one in found.slices]
    too_much = bootstrap.shown([one.seen.chance(rules.margin) for one in every], level)
    at_all = bootstrap.shown([one.seen.chance(0) for one in every], level)
    results: dict[tuple[str, str], Result] = {}
    for one, much, some in zip(every, too_much, at_all, strict=True):
        seems = one.rows >= rules.minimum_rows and one.seen.worse_by > rules.margin
        results[one.column, one.value] = "block" if much else "warn" if some or seems else "pass"
    small = [one for found in splits for one in found.small]
    bad = bootstrap.shown([one.seen.chance(rules.margin) for one in small], level)
    suspects = [one for one, shown in zip(small, bad, strict=True) if shown]
    comparisons = [
        compare(one.seen, rules.metric, rules.margin, gates.champion.confidence, one.rows).model_copy(
            update={"column": one.column, "value": one.value, "members": list(one.members)}
        )
        for one in every
    ]
    return [_check(found, results, suspects, gates) for found in splits], comparisons


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
    if len(np.unique(duel.block[mine])) < bootstrap.FEWEST:  # cheap, and most values of a long column end here
        return None
    return duel.difference(metric, mine)


def _check(found: Split, results: dict[tuple[str, str], Result], suspects: list[Slice], gates: Gates) -> Check:
    column, metric, margin = found.column, gates.slices.metric, gates.slices.margin
    name = f"slices: {column}"
    aside = (
        f" Not judged (too few rows or days, or {metric} cannot be told): {_list(found.left)}." if found.left else ""
    )
    if not found.slices:
        why = f"No slice can be judged.{aside} Wait for more days, or drop the column."
        return Check(name=name, result="warn", limit=margin, why=why)
    figure = max(one.seen.worse_by for one in found.slices)
    mine = sorted((one for one in suspects if one.column == column), key=lambda one: -one.seen.worse_by)[:NAMED]
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
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
