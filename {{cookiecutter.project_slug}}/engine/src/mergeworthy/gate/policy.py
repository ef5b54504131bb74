"""Limits of gates.yaml that no model could miss: a check that cannot fail is switched off, and that is said."""

from collections.abc import Iterator

import numpy as np

from ..config import Gates
from ..project import registered
from ..stats.bootstrap import Bools, Floats
from ..verdict import Check

NAMED = 6  # keys


def check(rules: Gates, label: Bools, score: Floats, prior: float) -> Iterator[Check]:
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
        more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
        why = f"gates.yaml switches checks off: {'; '.join(found[:NAMED])}{more}. Choose limits that can be missed."
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
