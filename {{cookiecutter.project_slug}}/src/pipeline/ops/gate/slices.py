"""A model that is better on the whole must not be bought with one airline or one hour of the day."""

import numpy as np

from ...settings import Gates
from ...stats import bootstrap
from ...stats.bootstrap import Difference
from .duel import Duel, Strings, compare
from .verdict import Check, Comparison, Result

Found = list[tuple[str, str, int, Difference]]


def judge(duel: Duel, columns: dict[str, Strings], gates: Gates) -> tuple[list[Check], list[Comparison]]:
    """Judge every value of every column (texts, shape (N,)) that has enough rows.

    Blocks where a slice is shown worse by more than the margin, with Holm's correction over all slices of all columns;
    warns where one seems so, or is shown worse at all.
    """
    rules, level = gates.slices, 1 - gates.champion.confidence
    found: Found = []
    distinct: dict[str, int] = {}
    for column, values in columns.items():
        names, place, rows = np.unique(values, return_inverse=True, return_counts=True)
        distinct[column] = len(names)
        for number, (name, count) in enumerate(zip(names, rows, strict=True)):
            if count >= rules.minimum_rows and (seen := duel.difference(rules.metric, place == number)):
                found.append((column, str(name), int(count), seen))
    too_much = bootstrap.shown([seen.chance(rules.margin) for *_, seen in found], level)
    at_all = bootstrap.shown([seen.chance(0) for *_, seen in found], level)
    results: list[Result] = [
        "block" if much else "warn" if some or seen.worse_by > rules.margin else "pass"
        for (*_, seen), much, some in zip(found, too_much, at_all, strict=True)
    ]
    comparisons = [
        compare(seen, rules.metric, rules.margin, gates.champion.confidence, rows).model_copy(
            update={"column": column, "value": value}
        )
        for column, value, rows, seen in found
    ]
    verdicts = list(zip(comparisons, results, strict=True))
    return [_check(column, values, verdicts, gates) for column, values in distinct.items()], comparisons


def _check(column: str, values: int, verdicts: list[tuple[Comparison, Result]], gates: Gates) -> Check:
    mine = [(slice_, result) for slice_, result in verdicts if slice_.column == column]
    name, metric, margin = f"slices: {column}", gates.slices.metric, gates.slices.margin
    left = values - len(mine)
    aside = f" {left} of {values} not judged (too few rows or days, or {metric} cannot be told)." if left else ""
    if not mine:
        why = f"No slice can be judged:{aside.lower()} Lower slices.minimum_rows, or drop the column."
        return Check(name=name, result="warn", limit=margin, why=why)
    figure = max(slice_.worse_by for slice_, _ in mine)
    for result, words in (("block", "shown worse by more than the margin"), ("warn", "worse, or seem so")):
        if bad := [slice_ for slice_, seen in mine if seen == result]:
            named = ", ".join(f"{s.value} by {s.worse_by:.4f} ({s.rows:,} rows)" for s in bad)
            return Check(
                name=name, result=result, figure=figure, limit=margin, why=f"{metric} {words}: {named}.{aside}"
            )
    why = f"None of {len(mine)} slices is shown worse in {metric}.{aside}"
    return Check(name=name, result="pass", figure=figure, limit=margin, why=why)
