"""The challenger against the champion: overall, slice by slice, and against the best of former champions.

Both models are compared on the same rows. Overall the challenger must be shown to be at most a margin worse. A model
that is better overall must not be worse in one slice, e.g. one airline or one hour of the day. Against many small
losses, each within its margin, the challenger is also compared with the best of the last champions (the anchor).
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .. import stats
from ..adapters import git
from ..adapters.dvc import opened
from ..config.base import Margin
from ..config.gates import Gates
from ..data.contract import private
from ..errors import UserError
from ..files import CHAMPION
from ..holdout import Holdout
from ..project import registered
from ..stats import Bools, Difference, Floats, Ints, Targets
from ..verdict import Check, Comparison, Result
from . import checks, rows
from .champion import (
    Champion,
    ChampionScorer,
    CommitRunner,
    ScoredChampion,
    earlier_champions,
    find_champion,
    other_question,
)
from .checks import CheckCollector
from .rows import check_key, key

Strings = NDArray[np.str_]
ALL_ROWS = slice(None)
NAMED_SLICES = 12  # values in one sentence; a column may have thousands


def judge(rules: Gates, holdout: Holdout, score: Floats, ref: str | None, collector: CheckCollector) -> None:
    """Add the checks that read the data: coverage, and the comparison with the champion at `ref`, or at main.

    Raise `UserError` if the data cannot be read, or a champion cannot be compared.
    """
    champion = find_champion(ref)
    with opened() as store:
        data = rows.todays_data(store)
        main_table, coverage = data.main(holdout.partition), None
        labels = rows.labels(main_table)
        with collector.check(rows.COVERAGE):
            coverage = rows.check_coverage(holdout, labels, rules.coverage)
            collector.add(coverage)
        if coverage is None:  # the features hold other rows than the main table, so nothing can be compared
            return
        columns = [*_blocks(rules), *rules.slices.columns]
        table = rows.with_main_columns(holdout.table, main_table, columns)
        challenger = Challenger(rules, replace(holdout, table=table), score, labels)
        for name in _blocks(rules):
            challenger.column(name, "bootstrap.block")
        for name in rules.slices.columns:
            if private(rows.schema(), [name]):
                raise UserError(f"gates.yaml: slices.columns: {name} is private, and a report names values: drop it")
            challenger.column(name, "slices.columns")
        result: Result = "pass"
        why = "There is no champion yet: main has no dvc.lock. This model becomes the first."
        if champion and (difference := other_question(champion, store)):
            result = "warn"
            why = (
                f"A new project begins, without a champion: main's model at {champion.name} answers another question "
                f"({difference} in its predictions). A reviewer decides if that is intended."
            )
            champion = None
        if champion is None:
            collector.add(Check(name="champion", result=result, why=why))
            collector.add(*checks.check_limits(rules, holdout.label, score, holdout.guess))
            return
        collector.champion = champion.commit
        if not np.isfinite(score).all():
            raise UserError("the challenger's scores are not all finite, so it cannot be compared")
        with tempfile.TemporaryDirectory(prefix="champion-") as scratch:
            runner = CommitRunner(Path(scratch), data, 60 * rules.champion.minutes)
            scorer = ChampionScorer(holdout, data, runner, rules.champion.if_code_fails)
            _compare_with_champion(challenger, champion, scorer, collector)


@dataclass(frozen=True)
class PairedComparison:
    """Labels and both models' scores of N rows, the block (such as a day) of each from 0, and resamples of blocks."""

    label: Targets
    champion: Floats
    challenger: Floats
    block: Ints
    weights: Floats

    def difference(self, metric: str, rows: Bools | slice = ALL_ROWS) -> Difference | None:
        """Compare the two models by a metric on a part of the rows; None if that is not possible."""
        scores = self.champion[rows], self.challenger[rows]
        return stats.difference(
            registered().all_metrics[metric], self.label[rows], scores, self.block[rows], self.weights
        )


@dataclass(frozen=True)
class Challenger:
    """The challenger's scores of the holdout's N rows, shape (N,), and the rules of the comparison.

    Blocks and slices are columns of the main table or, if it lacks them, of the champion's features: the challenger's
    features could rename their values. `labels` holds key and label of every row of the main table, whether or not
    the features have that row.
    """

    rules: Gates
    holdout: Holdout
    score: Floats
    labels: pl.DataFrame

    def column(self, name: str, setting: str) -> Strings:
        """Return a feature column as texts, shape (N,); raise `UserError` naming the `setting` of gates.yaml."""
        table = self.holdout.table
        if name not in table.columns:
            columns = ", ".join(table.columns)
            raise UserError(f"gates.yaml: {setting}: the features have no column {name}, they have {columns}")
        try:
            return _as_text(table[name])
        except pl.exceptions.PolarsError:
            raise UserError(
                f"gates.yaml: {setting}: the column {name} has type {table[name].dtype}, expected texts, numbers or "
                "times: name another"
            ) from None

    def paired_with(self, champion: pl.DataFrame) -> tuple[PairedComparison, Bools]:
        """Return both models on their common rows, and which of the N rows these are.

        `champion` holds the champion's key and `score`. Raise `UserError` if there are no common rows.
        """
        keys, table = key(), check_key(self.holdout.table, "the features")
        try:
            champion_score = table.select(keys).join(
                champion.select(*keys, "score"), on=keys, how="left", nulls_equal=True, maintain_order="left"
            )["score"]
        except pl.exceptions.SchemaError as error:
            raise UserError(f"the key has another type in the features than for the champion: {error}") from None
        common: Bools = champion_score.is_not_null().to_numpy()
        if not common.any():
            raise UserError(
                "the champion's predictions have none of the holdout's rows: keep the values of the key columns"
            )
        settings = self.rules.bootstrap
        blocks = np.arange(table.height) if settings.block is None else self.column(settings.block, "bootstrap.block")
        block = stats.merged(blocks[common], settings.seed)
        weights = stats.draw(int(block.max()) + 1, settings.resamples, settings.seed)
        scores = champion_score.drop_nulls().to_numpy().astype(np.float64), self.score[common]
        return PairedComparison(self.holdout.label[common], *scores, block, weights), common


def _blocks(rules: Gates) -> list[str]:
    """Return the column of blocks in a list; an empty list if rows are independent."""
    return [] if rules.bootstrap.block is None else [rules.bootstrap.block]


def _as_text(column: pl.Series) -> Strings:
    """Return a column's values as text, shape (N,); null is a value too."""
    return column.cast(pl.String).fill_null("(unknown)").to_numpy().astype(np.str_)


def _compare_with_champion(
    challenger: Challenger, champion: Champion, scorer: ChampionScorer, collector: CheckCollector
) -> None:
    """Add the checks of champion, data, label, limits, slices and anchor."""
    rules, holdout = challenger.rules, challenger.holdout
    if champion.newest and champion.newest > holdout.partition:
        collector.add(_check_newer_data(champion, holdout.partition))
    collector.add(*rows.check_data(champion, scorer.data, holdout.partition))
    scored = scorer.score(champion)
    challenger = _with_champion_columns(challenger, champion, scored, scorer, collector)
    pair, common = challenger.paired_with(scored.rows)
    collector.add(_check_scoring(scored, int(common.sum()), holdout.table.height))
    collector.add(*rows.check_label(challenger.labels, scored, champion, scorer))
    collector.add(*checks.check_limits(rules, pair.label, pair.champion, holdout.guess))
    scored.rows.select(*key(), "score").write_parquet(CHAMPION)
    columns = {name: challenger.column(name, "slices.columns")[common] for name in rules.slices.columns}
    for results, comparisons in (
        judge_overall(pair, rules),
        judge_slices(pair, columns, rules),
        judge_target_slices(pair, rules),
    ):
        collector.add(*results)
        collector.comparisons += comparisons
    with collector.check("anchor"):
        collector.add(*judge_anchor(challenger, champion, scorer))


def _with_champion_columns(
    challenger: Challenger,
    champion: Champion,
    scored: ScoredChampion,
    scorer: ChampionScorer,
    collector: CheckCollector,
) -> Challenger:
    """Take blocks and slices that the main table lacks from the champion's features, or add a warning."""
    rules, holdout = challenger.rules, challenger.holdout
    main_columns = scorer.data.main(holdout.partition).collect_schema().names()
    names = [name for name in (*_blocks(rules), *rules.slices.columns) if name not in main_columns]
    try:
        features = scorer.features(champion, scored.method) if names else None
        if features is None:
            return challenger
        types = {name: holdout.table.schema[name] for name in key()}
        table = rows.with_main_columns(holdout.table, features.cast(pl.Schema(types)).lazy(), names)
    except (UserError, pl.exceptions.PolarsError) as error:
        why = (
            f"{', '.join(names)} are read from this commit's features, as the champion's cannot be read "
            f"({str(error).splitlines()[0]}): review what changed in these columns."
        )
        collector.add(Check(name="champion: columns", result="warn", why=why))
        return challenger
    return replace(challenger, holdout=replace(holdout, table=table))


def _check_scoring(scored: ScoredChampion, common: int, rows: int) -> Check:
    """Report how the champion was scored; warn if not by its own features, or not on all rows."""
    result, why = "warn" if scored.method == "todays features" else "pass", scored.why
    if common < rows:
        result = "warn"
        why += f" It lacks {rows - common:,} of {rows:,} rows of the holdout: the models are compared on the others."
    return Check(name="champion", result=result, figure=common / rows, limit=1, why=why)


def _check_newer_data(champion: Champion, partition: str) -> Check:
    behind = not git.is_ancestor(champion.commit, "HEAD")
    advice = "merge main first." if behind else "compare with care, as data.dvc names older data than main's."
    why = (
        f"The champion had data up to {champion.newest}, so it may have been trained on {partition}, which makes it "
        f"look better than it is: {advice}"
    )
    return Check(name="champion: data", result="warn", why=why)


def judge_overall(pair: PairedComparison, rules: Gates) -> tuple[list[Check], list[Comparison]]:
    """Compare the models on the whole holdout, metric by metric."""
    results, comparisons, settings, unit = [], [], rules.champion, rules.bootstrap.unit
    for metric, allowed in settings.margins.items():
        difference = pair.difference(metric)
        name = f"champion: {metric}"
        if difference is None:
            why = (
                f"{metric} cannot be compared: the holdout has fewer than {stats.MIN_BLOCKS} {unit}, or {metric} is "
                "not defined on it."
            )
            results.append(Check(name=name, result="block", why=why))
            continue
        margin = allowed.of(difference.champion)
        comparison = _comparison(difference, metric, margin, settings.confidence, len(pair.label))
        comparisons.append(comparison)
        needed = difference.blocks_needed(margin, settings.confidence)
        result = "pass" if comparison.high <= margin else "block"
        why = _explain(comparison, settings.confidence, needed, unit)
        results.append(Check(name=name, result=result, figure=comparison.high, limit=margin, why=why))
    return results, comparisons


def _comparison(difference: Difference, metric: str, margin: float, confidence: float, rows: int) -> Comparison:
    """Return a difference as the verdict's type."""
    return Comparison(
        metric=metric,
        rows=rows,
        blocks=difference.blocks,
        champion=difference.champion,
        challenger=difference.challenger,
        worse_by=difference.worse_by,
        low=difference.at_least(confidence),
        high=difference.at_most(confidence),
        margin=margin,
    )


def _explain(comparison: Comparison, confidence: float, blocks_needed: int, unit: str) -> str:
    change = f"{comparison.metric} is {_worse(comparison.worse_by)} {_scores(comparison)}"
    bound = _bound(comparison.high, confidence)
    metric, margin = comparison.metric, comparison.margin
    remedy = f"find the change that lost it, or widen champion.margins.{metric} in gates.yaml"
    if comparison.high <= margin:
        return f"{change}, {bound}."
    if comparison.worse_by > margin and comparison.low > 0:
        return f"{change}, more than the margin of {margin:.3g}: {remedy}."
    if blocks_needed > comparison.blocks:
        rows = blocks_needed * comparison.rows // comparison.blocks
        return (
            f"{change}, but {comparison.rows:,} rows ({comparison.blocks} {unit}) are too few for this margin "
            f"({bound}): about {rows:,} rows ({blocks_needed:,} {unit}) are needed to show that an "
            "equal model is equal; hold out more, or widen the margin."
        )
    return f"{change}, {bound}, more than the margin of {margin:.3g}: {remedy}."


def _bound(high: float, confidence: float) -> str:
    """Return the upper bound of a loss in words: a negative one is a gain."""
    side = f"at least {-high:.4f} better" if high < 0 else f"at most {high:.4f} worse"
    return f"with {confidence:.0%} confidence {side}"


def _worse(by: float) -> str:
    return f"{abs(by):.4f} {'worse' if by > 0 else 'better'}" if by else "the same"


def _scores(pair: Comparison | Difference) -> str:
    return f"({pair.champion:.4f} → {pair.challenger:.4f})"


def judge_anchor(challenger: Challenger, champion: Champion, scorer: ChampionScorer) -> Iterator[Check]:
    """Compare with the best of the champions before this one, metric by metric, each scored as its commit would.

    Warn of champions that cannot be scored; raise `UserError` if none of them can.
    """
    settings, holdout = challenger.rules.anchor, challenger.holdout
    formers, unreadable = earlier_champions(champion, settings)
    # A model of newer data may have been trained on this holdout.
    formers = [former for former in formers if not former.newest or former.newest <= holdout.partition]
    pairs = dict[str, PairedComparison]()
    reasons = [f"{unreadable} hold no readable dvc.lock"] if unreadable else []
    for former in formers:
        try:
            pairs[former.name], _ = challenger.paired_with(scorer.score(former).rows)
        except UserError as error:
            reasons.append(str(error))
    if reasons:
        remedy = "lower anchor.champions in gates.yaml, or name the commit as anchor.after"
        if formers and not pairs:
            raise UserError(f"none of the earlier champions can be scored ({reasons[0]}): {remedy}")
        total = len(formers) + unreadable
        why = (
            f"{total - len(pairs)} of {total} earlier champions cannot be scored ({reasons[0]}): "
            f"restore them or, to leave them out, {remedy}."
        )
        yield Check(name="anchor", result="warn", why=why)
    if pairs:
        for metric, margin in challenger.rules.anchor_margins.items():
            yield _check_anchor(pairs, metric, margin, challenger.rules.champion.confidence)


def _check_anchor(pairs: dict[str, PairedComparison], metric: str, allowed: Margin, confidence: float) -> Check:
    """Check that the challenger is shown to be at most the margin `allowed` worse than the best former champion."""
    measure, name = registered().all_metrics[metric], f"anchor: {metric}"
    sign = 1 if measure.greater_is_better else -1
    values = {commit: sign * measure(pair.label, pair.champion) for commit, pair in pairs.items()}
    values = {commit: value for commit, value in values.items() if not np.isnan(value)}
    best = max(values, key=values.__getitem__, default=None)
    difference = pairs[best].difference(metric) if best else None
    if difference is None:
        why = f"{metric} cannot be compared with earlier champions: the holdout is too small, or has one value alone."
        return Check(name=name, result="block", why=why)
    margin = allowed.of(difference.champion)
    high = difference.at_most(confidence)
    why = (
        f"{metric} is {_worse(difference.worse_by)} {_scores(difference)}, compared with {best}, the best of the "
        f"last {len(pairs)} champions before main's, {_bound(high, confidence)}"
    )
    if high <= margin:
        return Check(name=name, result="pass", figure=high, limit=margin, why=f"{why}.")
    why += ": small losses add up; find the change that lost it, or accept the loss with anchor.after in gates.yaml."
    return Check(name=name, result="block", figure=high, limit=margin, why=why)


@dataclass(frozen=True)
class Slice:
    """One value of a column, or several small values together (`members`), and both models' difference there."""

    column: str
    value: str
    rows: int
    difference: Difference
    members: tuple[str, ...] = ()

    def p_value(self, margin: Margin) -> float:
        """Return the p-value under the hypothesis that the challenger is at most the margin worse."""
        return self.difference.p_value(margin.of(self.difference.champion))


@dataclass(frozen=True)
class ColumnSlices:
    """The slices of one column, its small values one by one, and the values that cannot be judged."""

    column: str
    slices: list[Slice]
    small: list[Slice]
    unjudged: list[str]


def judge_slices(
    pair: PairedComparison, columns: dict[str, Strings], gates: Gates
) -> tuple[list[Check], list[Comparison]]:
    """Compare the models on every value of every column (texts, shape (N,)), the small ones of a column together."""
    rules = gates.slices
    return _judge_slices(pair, columns, SliceRules(rules.metric, rules.margin, rules.minimum_rows), gates)


def judge_target_slices(pair: PairedComparison, gates: Gates) -> tuple[list[Check], list[Comparison]]:
    """Compare the models on the slices that the task makes of the target, such as classes, if gates.yaml asks for it.

    Classes are few and each one matters, so each that can be measured is a slice of its own.
    """
    rules, values = gates.slices.target, registered().task.target_slices(pair.label)
    if rules is None or values is None:
        return [], []
    return _judge_slices(pair, {registered().target: values}, SliceRules(rules.metric, rules.margin, 1), gates)


@dataclass(frozen=True)
class SliceRules:
    """By which metric slices are compared, the margin, and how many rows a slice of its own has."""

    metric: str
    margin: Margin
    minimum_rows: int


def _judge_slices(
    pair: PairedComparison, columns: dict[str, Strings], rules: SliceRules, gates: Gates
) -> tuple[list[Check], list[Comparison]]:
    """Compare the models on every value of every column (texts, shape (N,)), the small ones of a column together.

    Block if a slice is shown worse by more than the margin, with Holm's correction over all slices of all columns.
    Warn if a slice is shown worse at all, if a slice of enough rows seems worse by more than the margin, or if a small
    value by itself is shown worse by more than the margin, with Holm's correction over all small values. These only
    warn, so that the many small values do not make equal models blocked more often.
    """
    confidence = gates.champion.confidence
    level = 1 - confidence
    splits = [_split(pair, column, values, rules.metric, rules.minimum_rows) for column, values in columns.items()]
    slices = [part for split in splits for part in split.slices]
    beyond_margin = stats.holm([part.p_value(rules.margin) for part in slices], level)
    worse = stats.holm([part.difference.p_value(0) for part in slices], level)
    results: dict[tuple[str, str], Result] = {}
    for part, is_beyond, is_worse in zip(slices, beyond_margin, worse, strict=True):
        is_large, margin = part.rows >= rules.minimum_rows, rules.margin.of(part.difference.champion)
        seems_worse = is_large and part.difference.worse_by > margin
        results[part.column, part.value] = "block" if is_beyond else "warn" if is_worse or seems_worse else "pass"
    small = [part for split in splits for part in split.small]
    small_beyond = stats.holm([part.p_value(rules.margin) for part in small], level)
    suspects = [part for part, is_beyond in zip(small, small_beyond, strict=True) if is_beyond]
    comparisons = [
        _comparison(
            part.difference, rules.metric, rules.margin.of(part.difference.champion), confidence, part.rows
        ).model_copy(update={"column": part.column, "value": part.value, "members": list(part.members)})
        for part in slices
    ]
    return [_check_slices(split, results, suspects, rules) for split in splits], comparisons


def _split(pair: PairedComparison, column: str, values: Strings, metric: str, minimum_rows: int) -> ColumnSlices:
    """Compare the models on each value of one column, and on all values together that cannot be judged alone.

    These have fewer than `minimum_rows` rows or too few days, or lack the metric, e.g. as all rows are of one class.
    """
    names, code, rows = np.unique(values, return_inverse=True, return_counts=True)
    large, small = list[Slice](), list[Slice]()
    alone = np.zeros(len(names), np.bool_)
    for number, (name, count) in enumerate(zip(names, rows, strict=True)):
        if (difference := _difference(pair, metric, code == number)) is None:
            continue
        alone[number] = count >= minimum_rows
        (large if alone[number] else small).append(Slice(column, str(name), int(count), difference))
    rest = [str(name) for name in names[~alone]]
    together = pair.difference(metric, ~alone[code]) if rest else None
    if together is None:
        return ColumnSlices(column, large, small, rest)
    if len(rest) == 1:  # a single small value is judged under its own name
        return ColumnSlices(column, [*large, Slice(column, rest[0], int(rows[~alone].sum()), together)], [], [])
    pool = Slice(column, f"({len(rest)} small ones)", int(rows[~alone].sum()), together, tuple(rest))
    return ColumnSlices(column, [*large, pool], small, [])


def _difference(pair: PairedComparison, metric: str, rows: Bools) -> Difference | None:
    if len(np.unique(pair.block[rows])) < stats.MIN_BLOCKS:  # cheap, and true of most values of a long column
        return None
    return pair.difference(metric, rows)


def _check_slices(
    split: ColumnSlices, results: dict[tuple[str, str], Result], suspects: list[Slice], rules: SliceRules
) -> Check:
    column, metric, margin = split.column, rules.metric, None if rules.margin.relative else rules.margin.amount
    name, unjudged = f"slices: {column}", ""
    if split.unjudged:
        unjudged = f" Not judged (too few rows, or {metric} cannot be computed): {_list(split.unjudged)}."
    if not split.slices:
        why = f"No slice can be judged.{unjudged} Wait for more rows, or drop the column from slices.columns."
        return Check(name=name, result="warn", limit=margin, why=why)
    figure = max(part.difference.worse_by for part in split.slices)
    small = sorted((part for part in suspects if part.column == column), key=lambda part: -part.difference.worse_by)
    pool = next((part for part in split.slices if part.members), None)
    together = f" Small ones judged together: {_list(pool.members)} ({pool.rows:,} rows)." if pool else ""
    lost = "Find the change that lost it there, or widen slices.margin in gates.yaml."
    for result, words, remedy in (
        ("block", "is shown worse by more than the margin", lost),
        ("warn", "is worse, or seems so", "Look at these rows before you merge."),
    ):
        bad = [part for part in split.slices if results[column, part.value] == result]
        if bad or (small and result == "warn"):
            worst = ", ".join(_describe(part) for part in [*bad, *small[:NAMED_SLICES]])
            why = f"{metric} {words}: {worst}. {remedy}{together}{unjudged}"
            return Check(name=name, result=result, figure=figure, limit=margin, why=why)
    why = f"None of {len(split.slices)} slices is shown worse in {metric}.{together}{unjudged}"
    return Check(name=name, result="pass", figure=figure, limit=margin, why=why)


def _describe(part: Slice) -> str:
    return f"{part.value} by {part.difference.worse_by:.4f} ({part.rows:,} rows)"


def _list(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMED_SLICES:,} more" if len(names) > NAMED_SLICES else ""
    return ", ".join(names[:NAMED_SLICES]) + more
