"""What is too good to be believed at once: a leak of the label looks like progress. It warns, and names the column."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from .. import artifact
from ..config import Plausibility
from ..holdout import Holdout
from ..project import registered
from ..stats.bootstrap import Bools, Floats
from ..verdict import Check, Comparison

ROWS, SHUFFLED = 100_000, 10_000  # looked at, at most: for one input alone, and for the share that an input has
BINS = 100  # quantiles of a number
NAMED = 3


def judge(
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
            f"One input alone predicts {registered().target} nearly perfectly: {', '.join(bad[:NAMED])}. Check that it "
            "is known at the moment of a prediction; if it is, raise plausibility.single_input_auc in gates.yaml."
        )
    return Check(name="plausible: inputs", result=result, figure=figure, limit=limit, why=why)


def _jump(one: Comparison, limit: float, names: list[str], session: InferenceSession, holdout: Holdout) -> Check:
    better, name = -one.worse_by, f"plausible: {one.metric}"
    if better <= limit or one.high >= 0:  # what may be chance is no jump
        why = f"{one.metric} is not implausibly better than the champion's."
        return Check(name=name, result="pass", figure=better, limit=limit, why=why)
    falls = sorted(_falls(one.metric, names, session, holdout), reverse=True)
    resting = [f"{column} (shuffled, {fall:.4f} worse)" for fall, column in falls if fall >= falls[0][0] / 2][:NAMED]
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
