"""The checks that need no champion: contract, sanity, baseline, floors, batches, plausibility, cost."""

import hashlib
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
from ..adapters import actions, dvc_files, git
from ..config.gates import Bound, Cost, Gates, Plausibility
from ..errors import UserError
from ..holdout import Holdout
from ..paths import CONTRACT, DATA_DVC, LOCK, METRICS, MODEL, PREDICTIONS
from ..project import registered
from ..stats import Bools, Floats
from ..verdict import Check, Comparison, Verdict, worst
from .rows import key

# DOC gate.ledger: What the checks found so far. A check that cannot be made is written down as a block, and the next
# one is made.


@dataclass
class Ledger:
    """Checks in the order they were made; holdout and champion as soon as they are known."""

    partition: str | None = None
    champion: str | None = None
    checks: list[Check] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    def add(self, *checks: Check) -> None:
        """Write down checks that were made."""
        self.checks += checks

    @contextmanager
    def check(self, name: str) -> Iterator[None]:
        """Write a `UserError` raised inside down as a block of that name."""
        try:
            yield
        except UserError as error:
            self.add(Check(name=name, result="block", why=f"{' '.join(str(error).split())}."))

    def verdict(self, commit: str | None, lock: str | None) -> Verdict:
        """Close the books."""
        return Verdict(
            outcome=worst(self.checks),
            commit=commit,
            lock=lock,
            champion=self.champion,
            partition=self.partition,
            checks=self.checks,
            comparisons=self.comparisons,
        )


# DOC gate.absolute: Checks that need no champion: what a model must show whatever main has.

WARM, RUNS, ROUNDS = 20, 200, 3


def sanity(score: Floats) -> Check:
    """Check that scores are probabilities, and not all the same."""
    wrong = int((~((score >= 0) & (score <= 1))).sum())  # NaN is neither
    spread = float(np.ptp(score)) if not wrong else None
    why = "Scores are probabilities that differ from row to row."
    if wrong:
        why = (
            f"{wrong:,} of {len(score):,} scores are NaN or outside 0 to 1: look for NaN or inf in weights and inputs."
        )
    elif not spread:
        why = f"Every row gets the score {score[0]:.4g}: the model does not look at its inputs."
    return Check(name="sanity", result="pass" if spread else "block", figure=spread, limit=0, why=why)


def baseline(names: list[str], measured: dict[str, Any]) -> Iterator[Check]:
    """Check that each metric beats that of a constant guess, the share of positives in the training partitions."""
    for name in names:
        figure, limit = measured["model"][name], measured["baseline"][name]
        sign = 1 if registered().all_metrics[name].greater_is_better else -1
        if figure is None or limit is None:
            result, why = "block", f"{name} cannot be told (NaN), so nothing is shown."
        elif sign * figure > sign * limit:
            result, why = "pass", f"{name} is better than that of a constant guess."
        else:
            result, why = (
                "block",
                f"{name} is no better than that of a constant guess: the model has learnt nothing that holds.",
            )
        yield Check(name=f"baseline: {name}", result=result, figure=figure, limit=limit, why=why)


def floors(limits: dict[str, Bound], measured: dict[str, Any]) -> Iterator[Check]:
    """Check that each metric lies within its bounds, both included."""
    for name, bound in limits.items():
        figure = measured["model"][name]
        low, high = bound.min, bound.max
        limit = high if low is None else low
        if figure is None:
            result, why = "block", f"{name} cannot be told (NaN), so its bounds are not met."
        elif low is not None and figure < low:
            result, why = "block", f"{name} is below the {low:g} that gates.yaml asks for."
        elif high is not None and figure > high:
            result, why, limit = "block", f"{name} is above the {high:g} that gates.yaml allows.", high
        else:
            sides = {"at least": low, "at most": high}
            kept = " and ".join(f"{words} {value:g}" for words, value in sides.items() if value is not None)
            result, why = "pass", f"{name} is {kept}."
        yield Check(name=f"floor: {name}", result=result, figure=figure, limit=limit, why=why)


def size(model: bytes, cost: Cost) -> Check:
    """Check that the file that ships is not heavier than allowed."""
    megabytes = len(model) / 1e6
    fits = megabytes <= cost.model_mb
    why = (
        "The model is as light as asked for."
        if fits
        else "The model is too heavy: make it smaller, or raise cost.model_mb."
    )
    return Check(name="model MB", result="pass" if fits else "block", figure=megabytes, limit=cost.model_mb, why=why)


def latency(score_one: Callable[[], object], cost: Cost) -> Check:
    """Time one row on the one thread that scores it, warm: 95th percentile of 200 runs, the best of three rounds.

    It is the thread's own time that counts, so that a machine busy with other work does not change the verdict.
    Raises `UserError` if the row cannot be scored.
    """
    try:
        for _ in range(WARM):
            score_one()
    except Exception as error:  # noqa: BLE001 - whatever the runtime raises, there is nothing to time
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{MODEL} cannot score one row ({reason}), so its time is unknown") from None
    p95 = min(float(np.percentile([_milliseconds(score_one) for _ in range(RUNS)], 95)) for _ in range(ROUNDS))
    fits = p95 <= cost.latency_p95_ms
    why = (
        "One row is scored in time."
        if fits
        else "One row takes too long: simplify the model, or raise cost.latency_p95_ms."
    )
    return Check(name="p95 ms", result="pass" if fits else "block", figure=p95, limit=cost.latency_p95_ms, why=why)


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.thread_time()
    call()
    return 1000 * (time.thread_time() - started)


# DOC gate.integrity: Whether data, model and figures belong together: what is judged must be what was made, and what
# ships.

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
    this = actions.current()
    base = git.merge_base(this.commit, this.champion) if this.champion else None
    found = actions.origin(base)
    if actions.accepted(found):
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


# DOC gate.plausible: What is too good to be believed at once: a leak of the label looks like progress. It warns, and
# names the column.

ROWS, SHUFFLED = 100_000, 10_000  # looked at, at most: for one input alone, and for the share that an input has
BINS = 100  # quantiles of a number
NAMED_INPUTS = 3


def judge_plausibility(
    rules: Plausibility, session: InferenceSession, holdout: Holdout, comparisons: Sequence[Comparison]
) -> Iterator[Check]:
    """Warn if one input alone predicts the label nearly perfectly, or if the champion is beaten by implausibly much."""
    names = [column.name for column in session.get_inputs()]
    if holdout.label.any() and not holdout.label.all():
        yield _single(rules.single_input_auc, names, holdout)
    overall = [one for one in comparisons if one.column is None and one.metric in rules.jump]
    for one in overall:
        yield _jump(one, rules.jump[one.metric], names, session, holdout)


def alone(column: pl.Series, label: Bools) -> float:
    """Return the AUC that one input has by itself, whatever the shape of its relation to the label, (N,) each.

    Each half of the rows is scored with the share of positives that the other half has for the same value, or for
    the same hundredth of a number: so a column of many values, such as a name, gains nothing by being remembered.
    """
    code, half = _codes(column), np.arange(len(label)) % 2
    values, prior = int(code.max()) + 1, label.mean()
    rate = np.empty(len(label))
    for this in (0, 1):
        other, mine = half != this, half == this
        rows = np.bincount(code[other], minlength=values)
        positives = np.bincount(code[other], label[other], minlength=values)
        rate[mine] = ((positives + prior) / (rows + 1))[code[mine]]
    return _auc(rate, label)


def _codes(column: pl.Series) -> NDArray[np.int64]:
    """Return the number of each row's value, of a number that of its quantile; what is missing has one of its own."""
    if not column.dtype.is_numeric():
        return column.cast(pl.String).rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    number = column.cast(pl.Float64).to_numpy()
    known = np.isfinite(number)
    edges = np.unique(np.quantile(number[known], np.linspace(0, 1, BINS + 1))) if known.any() else np.zeros(1)
    return np.where(known, 1 + np.searchsorted(edges, np.where(known, number, 0), side="right"), 0)


def _auc(score: Floats, label: Bools) -> float:
    _, rank, rows = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(rows) - (rows - 1) / 2
    positives = int(label.sum())
    wins = middle[rank][label].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * (len(label) - positives)))


def _single(limit: float, names: list[str], holdout: Holdout) -> Check:
    chosen = _sample(len(holdout.label), ROWS)
    table, label = holdout.table[chosen], holdout.label[chosen]
    found = sorted(((alone(table[name], label), name) for name in names), reverse=True)
    figure, strongest = found[0] if found else (0.5, "none")
    result = "warn" if figure > limit else "pass"
    why = f"The strongest single input is {strongest}, with AUC {figure:.4f} alone."
    if bad := [f"{name} (AUC {auc:.4f})" for auc, name in found if auc > limit]:
        why = (
            f"One input alone predicts {registered().target} nearly perfectly: {', '.join(bad[:NAMED_INPUTS])}. Check "
            "that it is known when a prediction is asked for; if so, raise plausibility.single_input_auc in gates.yaml."
        )
    return Check(name="plausible: inputs", result=result, figure=figure, limit=limit, why=why)


def _jump(one: Comparison, limit: float, names: list[str], session: InferenceSession, holdout: Holdout) -> Check:
    better, name = -one.worse_by, f"plausible: {one.metric}"
    if better <= limit or one.high >= 0:  # what may be chance is no jump
        why = f"{one.metric} is not implausibly better than the champion's."
        return Check(name=name, result="pass", figure=better, limit=limit, why=why)
    falls = sorted(_falls(one.metric, names, session, holdout), reverse=True)
    resting = [f"{column} (shuffled, {fall:.4f} worse)" for fall, column in falls if fall >= falls[0][0] / 2][
        :NAMED_INPUTS
    ]
    why = (
        f"{one.metric} is {better:.4f} better than the champion's ({one.champion:.4f} → {one.challenger:.4f}), more "
        f"than is plausible at once. It rests most on {', '.join(resting)}: check that this is known when a "
        "prediction is made, and merge if it is."
    )
    return Check(name=name, result="warn", figure=better, limit=limit, why=why)


def _falls(metric: str, names: list[str], session: InferenceSession, holdout: Holdout) -> Iterator[tuple[float, str]]:
    """Yield by how much the metric gets worse if one input is shuffled among the rows (Breiman 2001), and its name."""
    chosen = _sample(len(holdout.label), SHUFFLED)
    table, label = holdout.table[chosen], holdout.label[chosen]
    sign, order = (
        (1 if registered().all_metrics[metric].greater_is_better else -1),
        np.random.default_rng(1).permutation(len(label)),
    )
    whole = registered().all_metrics[metric](label, artifact.predict(session, table).astype(np.float64))
    for name in names:
        shuffled = table.with_columns(table[name][order])
        yield (
            sign
            * (whole - registered().all_metrics[metric](label, artifact.predict(session, shuffled).astype(np.float64))),
            name,
        )


def _sample(rows: int, most: int) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng(0).permutation(rows)[:most])


# DOC gate.policy: Limits of gates.yaml that no model could miss: a check that cannot fail is switched off, and that
# is said.

NAMED_LIMITS = 6  # keys


def check_limits(rules: Gates, label: Bools, score: Floats, prior: float) -> Iterator[Check]:
    """Warn of keys that switch a check off; `label` and `score` are the champion's, of N rows, shape (N,) each.

    If there is no champion yet, they are the first model's. `prior` is what a constant guess answers.
    """
    found = [*_margins(rules, label, score, prior), *_jumps(rules, label, score), *_floors(rules, label)]
    if not rules.slices.columns:
        found.append("slices.columns names no column, so no part of the holdout is compared")
    elif rules.slices.minimum_rows > len(label):
        found.append(f"slices.minimum_rows is {rules.slices.minimum_rows:,}, and the holdout has {len(label):,} rows")
    if rules.plausibility.single_input_auc == 1:
        found.append("plausibility.single_input_auc is 1, which no input exceeds")
    if found:
        more = f"; and {len(found) - NAMED_LIMITS} more" if len(found) > NAMED_LIMITS else ""
        why = f"gates.yaml switches checks off: {'; '.join(found[:NAMED_LIMITS])}{more}. Choose others."
        yield Check(name="gates.yaml", result="warn", figure=len(found), limit=0, why=why)


def _margins(rules: Gates, label: Bools, score: Floats, prior: float) -> Iterator[str]:
    """Name margins within which a constant guess is, or, if that is no worse by the metric, an answer always wrong."""
    anchor = rules.anchor.margins or {name: 2 * margin for name, margin in rules.champion.margins.items()}
    sections = {"champion": rules.champion.margins, "drift.performance": rules.drift.performance.margins}
    margins = [(f"{name}.margins.{metric}", metric, m) for name, each in sections.items() for metric, m in each.items()]
    margins += [(f"anchor.margins.{metric}", metric, margin) for metric, margin in anchor.items()]
    margins.append(("slices.margin", rules.slices.metric, rules.slices.margin))
    guess, wrong = np.full(len(label), prior), (~label).astype(np.float64)
    for setting, metric, margin in margins:
        worth = _worth(metric, label, score)
        for what, answer in (("a constant guess", guess), ("an answer that is always wrong", wrong)):
            worse = worth - _worth(metric, label, answer)
            if worse > 0:
                if margin >= worse:
                    yield f"{setting} is {margin:g}, and {what} is only {worse:.4f} worse in {metric}"
                break


def _jumps(rules: Gates, label: Bools, score: Floats) -> Iterator[str]:
    for metric, limit in rules.plausibility.jump.items():
        better = _worth(metric, label, label.astype(np.float64)) - _worth(metric, label, score)
        if limit >= better:
            yield f"plausibility.jump.{metric} is {limit:g}, and even a perfect model would be only {better:.4f} better"


def _floors(rules: Gates, label: Bools) -> Iterator[str]:
    """Name floors that both a perfect model and one that is always wrong meet; what lies between them does too."""
    for metric, bound in rules.floors.items():
        if registered().all_metrics[metric].greater_is_better is None:
            continue
        ends = [registered().all_metrics[metric](label, answer.astype(np.float64)) for answer in (label, ~label)]
        low, high = (-np.inf if bound.min is None else bound.min), (np.inf if bound.max is None else bound.max)
        if all(low <= end <= high for end in ends):
            yield f"floors.{metric} is met by answers that are always wrong"


def _worth(metric: str, label: Bools, score: Floats) -> float:
    """Return the metric with a sign by which greater is better."""
    measure = registered().all_metrics[metric]
    return (1 if measure.greater_is_better else -1) * measure(label, score)
