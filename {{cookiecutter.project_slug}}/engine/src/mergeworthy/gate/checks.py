"""The checks of the model itself: contract, sanity, baseline, floors, batches, plausibility, cost, limits.

None of them needs the champion's code. `CheckCollector` holds the results; a check that cannot be made is a block, and
the next one is made.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from .. import artifact, files
from ..adapters import actions, dvc, git
from ..config.gates import Bound, Cost, Gates, Plausibility
from ..errors import UserError
from ..files import CONTRACT, DATA_DVC, LOCK, METRICS, MODEL, PREDICTIONS
from ..holdout import Holdout, constant
from ..partitions import Partition
from ..project import registered
from ..stats import Floats, Targets
from ..verdict import Check, Comparison, Verdict, worst
from .rows import key

HOW_TO_REBUILD = "run `make pipeline`"

WARM_UP_RUNS, RUNS, ROUNDS = 20, 200, 3  # of the timing of one row
SINGLE_ROWS, BATCH_ROWS = 64, 4_096  # rows scored one by one, and as one batch in reverse order
BATCH_TOLERANCE = 1e-5  # between scores of one row: float32 sums differ a little with the size of a batch
TOLERANCE = 1e-6  # between reported and measured figures: another processor may differ in the last digits

SINGLE_INPUT_ROWS, SHUFFLED_ROWS = 100_000, 10_000  # at most: for the power of one input, and for its importance
BINS = 100  # quantiles of a number
NOT_COMPUTED = "{} cannot be computed (NaN): look for NaN in the scores, or a holdout of one value."
NAMED_INPUTS = 3  # inputs in one sentence
CEILINGS = {  # beyond these a limit holds nothing back, whatever the team
    "cost.model_mb": 10_000,
    "cost.latency_p95_ms": 10_000,
    "image.parity": 0.01,
    "image.latency_p95_ms": 10_000,
    "image.size_mb": 20_000,
    "image.memory_mb": 100_000,
    "image.ready_s": 60,  # a container that is not ready by then is stopped
    "drift.distance.floor": 0.5,
    "drift.maximum_skew": 0.5,
    "drift.maximum_age": 10_000,
    "drift.label_delay": 1_000,
    "drift.cooldown_days": 1_000,
    "drift.window.blocks": 10_000,
    "drift.window.minimum_rows": 1_000_000_000,
    "drift.window.persistence": 20,
    "drift.performance.windows": 1_000,
}
LEAST_COVERAGE, LEAST_CONFIDENCE = 0.5, 0.8
NAMED_LIMITS = 6  # keys of gates.yaml in one sentence


@dataclass
class CheckCollector:
    """Collect checks in their order, comparisons, and holdout and champion as soon as they are known."""

    partition: str | None = None
    champion: str | None = None
    checks: list[Check] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    def add(self, *checks: Check) -> None:
        """Add checks."""
        self.checks += checks

    @contextmanager
    def check(self, name: str) -> Iterator[None]:
        """Add a block of that name if a `UserError` is raised inside."""
        try:
            yield
        except UserError as error:
            self.add(Check(name=name, result="block", why=f"{' '.join(str(error).split())}."))

    def verdict(self, commit: str | None, lock: str | None) -> Verdict:
        """Return the verdict of all checks; `lock` is the MD5 of dvc.lock."""
        return Verdict(
            outcome=worst(self.checks),
            commit=commit,
            lock=lock,
            champion=self.champion,
            partition=self.partition,
            checks=self.checks,
            comparisons=self.comparisons,
        )


def sanity(score: Floats) -> Check:
    """Check that scores are valid for the task, and not all the same."""
    task = registered().task
    invalid = int(task.invalid(score).sum())
    spread = float(np.ptp(score, axis=0).max()) if not invalid else None
    why = f"Scores are {task.validity}; they differ from row to row."
    if invalid:
        why = (
            f"{invalid:,} of {len(score):,} rows have other scores than {task.validity}: look for NaN in weights and "
            "inputs, and at the last layer."
        )
    elif not spread:
        constant = ", ".join(f"{number:.4g}" for number in np.atleast_1d(score[0])[:NAMED_INPUTS])
        why = f"Every row gets the score {constant}: the model does not look at its inputs."
    return Check(name="sanity", result="pass" if spread else "block", figure=spread, limit=0, why=why)


def targets(holdout: Holdout) -> Iterator[Check]:
    """Warn of targets, such as classes, that no row of the holdout has: nothing shows what the model makes of them."""
    if missing := registered().task.missing_targets(holdout.label):
        more = f" and {len(missing) - NAMED_INPUTS:,} more" if len(missing) > NAMED_INPUTS else ""
        why = (
            f"No row of {holdout.partition} has {registered().target} = {', '.join(missing[:NAMED_INPUTS])}{more}, so "
            "the model's answers for it are not judged: hold out more rows, or review them apart."
        )
        yield Check(name="targets", result="warn", figure=len(missing), limit=0, why=why)


def baseline(names: list[str], measured: dict[str, Any]) -> Iterator[Check]:
    """Check that each metric is better than that of a constant guess, which the task learns from the training rows."""
    for name in names:
        figure, limit = measured["model"][name], measured["baseline"][name]
        sign = 1 if registered().all_metrics[name].greater_is_better else -1
        if figure is None or limit is None:
            result, why = "block", NOT_COMPUTED.format(name)
        elif sign * figure > sign * limit:
            result, why = "pass", f"{name} is better than that of a constant guess."
        else:
            result = "block"
            why = (
                f"{name} {figure:.4f} is no better than the {limit:.4f} of a constant guess: the model learnt nothing "
                "that holds on new data; check target, features and learning rate."
            )
        yield Check(name=f"baseline: {name}", result=result, figure=figure, limit=limit, why=why)


def floors(limits: dict[str, Bound], measured: dict[str, Any]) -> Iterator[Check]:
    """Check that each metric lies within its bounds, both included."""
    for name, bound in limits.items():
        figure = measured["model"][name]
        low, high = bound.min, bound.max
        limit = high if low is None else low
        if figure is None:
            result, why = "block", NOT_COMPUTED.format(name)
        elif low is not None and figure < low:
            remedy = f"improve the model, or lower floors.{name} there"
            result, why = "block", f"{name} {figure:.4f} is below the {low:g} that gates.yaml requires: {remedy}."
        elif high is not None and figure > high:
            remedy, limit = f"improve the model, or raise floors.{name} there", high
            result, why = "block", f"{name} {figure:.4f} is above the {high:g} that gates.yaml allows: {remedy}."
        else:
            bounds = {"at least": low, "at most": high}
            met = " and ".join(f"{words} {value:g}" for words, value in bounds.items() if value is not None)
            result, why = "pass", f"{name} is {met}."
        yield Check(name=f"floor: {name}", result=result, figure=figure, limit=limit, why=why)


def size(model: bytes, cost: Cost) -> Check:
    """Check that the model file is not larger than allowed."""
    megabytes = len(model) / 1e6
    fits = megabytes <= cost.model_mb
    why = (
        "The model file is small enough."
        if fits
        else f"The model file is too heavy, {megabytes:.4g} MB for {cost.model_mb:g}: make it smaller, or raise "
        "cost.model_mb in gates.yaml."
    )
    return Check(name="model MB", result="pass" if fits else "block", figure=megabytes, limit=cost.model_mb, why=why)


def latency(score_one: Callable[[], object], cost: Cost) -> Check:
    """Check the time of one row on one warm thread: the 95th percentile of 200 runs, the best of three rounds.

    The thread's own CPU time counts, so that a busy machine does not change the verdict. Raise `UserError` if the row
    cannot be scored.
    """
    try:
        for _ in range(WARM_UP_RUNS):
            score_one()
    except Exception as error:  # noqa: BLE001 - onnxruntime documents no error types
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{MODEL} cannot score one row ({reason}), so its time cannot be measured: {HOW_TO_REBUILD}"
        ) from None
    p95 = min(float(np.percentile([_milliseconds(score_one) for _ in range(RUNS)], 95)) for _ in range(ROUNDS))
    fits = p95 <= cost.latency_p95_ms
    why = (
        "One row is scored in time."
        if fits
        else f"One row takes {p95:.3g} ms, more than {cost.latency_p95_ms:g}: simplify the model, or raise "
        "cost.latency_p95_ms in gates.yaml."
    )
    return Check(name="p95 ms", result="pass" if fits else "block", figure=p95, limit=cost.latency_p95_ms, why=why)


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.thread_time()
    call()
    return 1000 * (time.thread_time() - started)


def contract(holdout: Partition) -> Check:
    """Check that all partitions of data.dvc were validated, dvc.lock names that data, and the newest is the holdout."""
    data = dvc.read(DATA_DVC)
    validated = files.read_mapping(CONTRACT, HOW_TO_REBUILD).get("partitions")
    if not isinstance(validated, dict):
        raise UserError(f"{CONTRACT}: partitions: expected a mapping, not {validated!r}: {HOW_TO_REBUILD}")
    partitions = set(dvc.partitions(data))
    if missing := sorted(partitions - validated.keys()):
        raise UserError(f"{CONTRACT} does not cover partition {', '.join(missing)} of {DATA_DVC}: {HOW_TO_REBUILD}")
    if holdout != max(partitions, default=None):
        raise UserError(f"{holdout.features} is not the newest partition of {DATA_DVC}: {HOW_TO_REBUILD}")
    if dvc.data(dvc.read(LOCK), str(LOCK)) != data["outs"][0]["md5"]:
        raise UserError(f"{LOCK} records other data than {DATA_DVC}: {HOW_TO_REBUILD}")
    return Check(name="data contract", result="pass", why=f"All {len(partitions)} partitions passed validation.")


def evaluation(model: bytes, measured: dict[str, Any]) -> Check:
    """Check that the model is the one in dvc.lock, and that its measured figures are those of metrics.json."""
    if files.md5_of(model) != dvc.model(dvc.read(LOCK), str(LOCK)):
        raise UserError(f"{MODEL} is not the file that {LOCK} records: {HOW_TO_REBUILD}")
    reported = dvc.flat(files.read_mapping(METRICS, HOW_TO_REBUILD), ".")
    figures = dvc.flat(measured, ".")
    if unknown := sorted(reported.keys() - figures.keys()):
        raise UserError(f"{METRICS} holds {unknown[0]!r}, which evaluation does not measure: {HOW_TO_REBUILD}")
    for name, value in figures.items():
        if name not in reported:
            raise UserError(f"{METRICS} lacks {name}: {HOW_TO_REBUILD}")
        if not _equal(value, reported[name]):
            raise UserError(
                f"{METRICS} says {name} is {reported[name]}, the model itself gives {value}: {HOW_TO_REBUILD}"
            )
    return Check(name="evaluation", result="pass", why="The model gives the reported figures again.")


def predictions(holdout: Holdout, score: Floats) -> None:
    """Raise `UserError` if the recorded predictions, with which later models are compared, are not the model's own.

    `score` holds the model's scores of the holdout, shape (N,).
    """
    task, names = registered().task, [*key(), registered().target]
    if files.md5(PREDICTIONS, HOW_TO_REBUILD) != dvc.outs(dvc.read(LOCK)).get(PREDICTIONS.as_posix()):
        raise UserError(f"{PREDICTIONS} is not the file that {LOCK} records: {HOW_TO_REBUILD}")
    recorded = files.read_parquet(PREDICTIONS, HOW_TO_REBUILD, [*names, "score"])
    if any(name not in holdout.table.columns for name in names):
        return  # the check of coverage reports it
    try:
        same = recorded.select(names).equals(holdout.table.select(names)) and np.allclose(
            recorded["score"].cast(task.score_type).to_numpy(), score, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
        )
    except (pl.exceptions.PolarsError, TypeError):
        same = False
    if not same:
        raise UserError(f"{PREDICTIONS} does not hold what the model itself predicts for the holdout: {HOW_TO_REBUILD}")


def provenance() -> Check:
    """Check that a CI run wrote dvc.lock if gates.yaml requires it; block only in a pull request, where CI trains."""
    event = actions.current()
    base = git.merge_base(event.commit, event.champion) if event.champion else None
    origin = actions.origin(base)
    if actions.accepted(origin):
        return Check(name="provenance", result="pass", why=origin.sentence)
    if event.pull_request is None:
        why = f"{origin.sentence} In a pull request CI trains it again, as gates.yaml requires (provenance.trained_by)."
        return Check(name="provenance", result="warn", why=why)
    why = f"{origin.sentence} gates.yaml requires one (provenance.trained_by): let the workflow's job `train` run."
    return Check(name="provenance", result="block", why=why)


def batch(session: InferenceSession, table: pl.DataFrame, score: Floats) -> Check:
    """Check that a row's score depends on that row alone: the service scores rows one by one, the gate all together.

    A sample of rows is scored in reverse order as a batch of its own, and part of it row by row. `score` holds the
    scores of the whole `table`, shape (N,). Raise `UserError` if the model cannot score so few rows.
    """
    chosen = np.random.default_rng(0).permutation(table.height)[:BATCH_ROWS]
    single = chosen[:SINGLE_ROWS]
    try:
        together = artifact.predict(session, table[chosen[::-1]])[::-1].astype(np.float64)
        alone = np.concatenate([artifact.predict(session, table[[row]]) for row in single]).astype(np.float64)
    except Exception as error:  # noqa: BLE001 - onnxruntime documents no error types
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{MODEL} scores the whole holdout, but not a row alone or in a smaller batch ({reason}): export "
            "the model with a free batch size"
        ) from None
    differences = {
        "in another batch and order": _distance(together, score[chosen]),
        "alone": _distance(alone, score[single]),
    }
    figure = max(float(apart.max()) for apart in differences.values())
    changed = [
        f"{(apart > BATCH_TOLERANCE).sum():,} of {len(apart):,} rows {how}"
        for how, apart in differences.items()
        if apart.max() > BATCH_TOLERANCE
    ]
    if not changed:
        why = f"A row has the same score among all, alone ({len(single)} tried), and in another batch and order."
        return Check(name="batch", result="pass", figure=figure, limit=BATCH_TOLERANCE, why=why)
    why = (
        f"Scores differ from those of the whole holdout: {', '.join(changed)} (by up to {figure:.4f}). The service "
        "would give other scores than are judged here: make a row's score depend on that row alone, the same each time."
    )
    return Check(name="batch", result="block", figure=figure, limit=BATCH_TOLERANCE, why=why)


def _distance(a: Floats, b: Floats) -> Floats:
    """Return the difference of two scores of each row, shape (N,), relative above 1.

    It is 0 if both are the same infinity or NaN, and the largest float if one is NaN.
    """
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), 1)
    distance = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, apart)
    largest: Floats = np.nan_to_num(distance, nan=np.finfo(np.float64).max).reshape(len(a), -1).max(axis=1)
    return largest


def _equal(measured: object, reported: object) -> bool:
    if isinstance(measured, float) and isinstance(reported, float | int):
        return math.isclose(measured, reported, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return measured == reported


def plausibility(
    rules: Plausibility, session: InferenceSession, holdout: Holdout, comparisons: Sequence[Comparison]
) -> Iterator[Check]:
    """Warn if one input alone predicts the label, or if the model is better than the champion by too much.

    Both can come from a leak of the label. The warnings name the columns.
    """
    names = [column.name for column in session.get_inputs()]
    if (single := _check_single_inputs(rules.single_input, names, holdout)) is not None:
        yield single
    for comparison in comparisons:
        if comparison.column is None and comparison.metric in rules.jump:
            yield _check_jump(comparison, rules.jump[comparison.metric], names, session, holdout)


def _codes(column: pl.Series) -> NDArray[np.int64]:
    """Return the number of each row's value, or of a number's quantile; a missing value has the code 0."""
    if not column.dtype.is_numeric():
        return column.cast(pl.String).rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    number = column.cast(pl.Float64).to_numpy()
    finite = np.isfinite(number)
    edges = np.unique(np.quantile(number[finite], np.linspace(0, 1, BINS + 1))) if finite.any() else np.zeros(1)
    return np.where(finite, 1 + np.searchsorted(edges, np.where(finite, number, 0), side="right"), 0)


def _check_single_inputs(limit: float, names: list[str], holdout: Holdout) -> Check | None:
    """Check how well each input alone predicts the target; None if that cannot be measured on these rows."""
    task, sample = registered().task, _sample(len(holdout.label), SINGLE_INPUT_ROWS)
    table, label = holdout.table[sample], holdout.label[sample]
    powers = ((task.single_input(label, _codes(table[name])), name) for name in names)
    ranked = sorted((each for each in powers if math.isfinite(each[0])), reverse=True)
    if not ranked:
        return None
    metric, (figure, strongest) = task.single_input_metric, ranked[0]
    result = "warn" if figure > limit else "pass"
    why = f"The strongest single input is {strongest}, with {metric} {figure:.4f} alone."
    if suspects := [f"{name} ({metric} {power:.4f})" for power, name in ranked if power > limit]:
        why = (
            f"One input alone predicts {registered().target} nearly perfectly: {', '.join(suspects[:NAMED_INPUTS])}. "
            "Check that it is known when a prediction is made; if so, raise plausibility.single_input in gates.yaml."
        )
    return Check(name="plausible: inputs", result=result, figure=figure, limit=limit, why=why)


def _check_jump(
    comparison: Comparison, limit: float, names: list[str], session: InferenceSession, holdout: Holdout
) -> Check:
    better, name = -comparison.worse_by, f"plausible: {comparison.metric}"
    if better <= limit or comparison.high >= 0:  # within the limit, or possibly chance
        why = f"{comparison.metric} is not implausibly better than the champion's."
        return Check(name=name, result="pass", figure=better, limit=limit, why=why)
    losses = sorted(_permutation_losses(comparison.metric, names, session, holdout), reverse=True)
    largest = losses[0][0]
    important = [f"{column} (shuffled, {loss:.4f} worse)" for loss, column in losses if loss >= largest / 2]
    why = (
        f"{comparison.metric} is {better:.4f} better than the champion's "
        f"({comparison.champion:.4f} → {comparison.challenger:.4f}), more than is plausible at once. It depends most "
        f"on {', '.join(important[:NAMED_INPUTS])}: check that this is known when a prediction is made. If so, merge."
    )
    return Check(name=name, result="warn", figure=better, limit=limit, why=why)


def _permutation_losses(
    metric: str, names: list[str], session: InferenceSession, holdout: Holdout
) -> Iterator[tuple[float, str]]:
    """Yield by how much the metric gets worse if one input is shuffled among the rows (Breiman 2001), and its name."""
    sample = _sample(len(holdout.label), SHUFFLED_ROWS)
    table, label = holdout.table[sample], holdout.label[sample]
    order = np.random.default_rng(1).permutation(len(label))
    unshuffled = _oriented(metric, label, artifact.predict(session, table).astype(np.float64))
    for name in names:
        shuffled = table.with_columns(table[name][order])
        score = artifact.predict(session, shuffled).astype(np.float64)
        yield unshuffled - _oriented(metric, label, score), name


def _sample(rows: int, most: int) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng(0).permutation(rows)[:most])


def check_limits(rules: Gates, label: Targets, score: Floats, guess: Floats) -> Iterator[Check]:
    """Warn of limits in gates.yaml that no model can miss, so that they switch a check off.

    `label` and `score` are the champion's of N rows, or the first model's if there is no champion. `guess` is the
    score of a constant guess, shape (width,).
    """
    reasons = [
        *_wide_margins(rules, label, score, guess),
        *_wide_jumps(rules, label, score),
        *_met_floors(rules, label),
        *_idle_limits(rules),
    ]
    if not rules.slices.columns:
        reasons.append("slices.columns names no column, so no part of the holdout is compared")
    elif rules.slices.minimum_rows > len(label):
        reasons.append(f"slices.minimum_rows is {rules.slices.minimum_rows:,}, and the holdout has {len(label):,} rows")
    if rules.plausibility.single_input == 1:
        reasons.append("plausibility.single_input is 1, which no input exceeds")
    if reasons:
        more = f"; and {len(reasons) - NAMED_LIMITS} more" if len(reasons) > NAMED_LIMITS else ""
        why = f"gates.yaml switches checks off: {'; '.join(reasons[:NAMED_LIMITS])}{more}. Choose other limits."
        yield Check(name="gates.yaml", result="warn", figure=len(reasons), limit=0, why=why)


def _idle_limits(rules: Gates) -> Iterator[str]:
    """Name limits beyond what any team would accept, so that they hold nothing back."""
    limits = rules.model_dump()
    for setting, ceiling in CEILINGS.items():
        section, _, name = setting.rpartition(".")
        group = limits
        for part in section.split("."):
            group = group[part]
        if group[name] > ceiling:
            yield f"{setting} is {group[name]:g}, which holds nothing back (at most {ceiling:g} does)"
    for setting, value, least in (
        ("coverage", rules.coverage, LEAST_COVERAGE),
        ("champion.confidence", rules.champion.confidence, LEAST_CONFIDENCE),
    ):
        if value < least:
            yield f"{setting} is {value:g}, which holds little back (at least {least:g} does)"


def _wide_margins(rules: Gates, label: Targets, score: Floats, guess: Floats) -> Iterator[str]:
    """Name margins within which a constant guess lies.

    By a metric in which a constant guess is no worse, answers that are as wrong as can be count instead.
    """
    sections = {
        "champion.margins.": rules.champion.margins,
        "drift.performance.margins.": rules.drift.performance.margins,
        "anchor.margins.": rules.anchor_margins,
    }
    margins = [(f"{name}{metric}", metric, m) for name, each in sections.items() for metric, m in each.items()]
    margins.append(("slices.margin", rules.slices.metric, rules.slices.margin))
    if rules.slices.target:
        margins.append(("slices.target.margin", rules.slices.target.metric, rules.slices.target.margin))
    guesses, opposite = constant(guess, len(label)), registered().task.opposite(label)
    for setting, metric, margin in margins:
        value, width = _oriented(metric, label, score), margin.of(registered().all_metrics[metric](label, score))
        for what, answers in (("a constant guess", guesses), ("an answer that is always wrong", opposite)):
            worse = value - _oriented(metric, label, answers)
            if worse > 0:
                if width >= worse:
                    yield f"{setting} is {margin}, and {what} is only {worse:.4f} worse in {metric}"
                break


def _wide_jumps(rules: Gates, label: Targets, score: Floats) -> Iterator[str]:
    for metric, limit in rules.plausibility.jump.items():
        better = _oriented(metric, label, registered().task.perfect(label)) - _oriented(metric, label, score)
        if limit >= better:
            yield f"plausibility.jump.{metric} is {limit:g}, and even a perfect model would be only {better:.4f} better"


def _met_floors(rules: Gates, label: Targets) -> Iterator[str]:
    """Name floors that both a perfect model and one that is always wrong meet: every model lies between these two."""
    task = registered().task
    for name, bound in rules.floors.items():
        metric = registered().all_metrics[name]
        if metric.greater_is_better is None:
            continue
        extremes = [metric(label, answers) for answers in (task.perfect(label), task.opposite(label))]
        low, high = (-np.inf if bound.min is None else bound.min), (np.inf if bound.max is None else bound.max)
        if all(low <= extreme <= high for extreme in extremes):
            yield f"floors.{name} is met by answers that are always wrong"


def _oriented(name: str, label: Targets, score: Floats) -> float:
    """Return the metric with a sign by which greater is better."""
    metric = registered().all_metrics[name]
    return (1 if metric.greater_is_better else -1) * metric(label, score)
