"""The rules, one kind of evidence each: figure, threshold and a sentence, fired or not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..config.drift import Drift, Performance, Window
from ..reference.performance import Figure, worse
from ..reference.record import SCORE
from .decision import Column, Rule

Figures = Mapping[str, Figure]


def performance(holdout: Figures, now: Figures, policy: Performance) -> Iterator[Rule]:
    """Labelled performance: shown worse than on the holdout by more than the margin."""
    for metric, margin in policy.margins.items():
        if metric not in holdout or metric not in now:
            why = f"{metric} cannot be told yet: too few days or rows with a label."
            yield Rule(name=metric, evidence="performance", fired=False, threshold=margin, why=why)
            continue
        found = worse(metric, holdout[metric], now[metric])
        low, fell = found.at_least(policy.confidence), f"{found.champion:.4f} → {found.challenger:.4f}"
        fired = low > margin
        bound = f"with {policy.confidence:.1%} confidence at least {low:.4f} worse"
        told = f"{metric} on labelled rows went {fell}, {bound}"
        why = f"{told}, the margin is {margin:g}." if fired else f"{told}: not beyond the margin of {margin:g}."
        yield Rule(name=metric, evidence="performance", fired=fired, figure=low, threshold=margin, why=why)


def as_good(holdout: Figures, now: Figures, policy: Performance) -> bool:
    """Tell whether every metric is shown to be no more than its margin worse than on the holdout."""
    pairs = policy.margins.items()
    return all(
        metric in holdout
        and metric in now
        and worse(metric, holdout[metric], now[metric]).at_most(policy.confidence) <= margin
        for metric, margin in pairs
    )


def moved(columns: Iterable[Column], windows: int, policy: Window) -> Iterator[Rule]:
    """Predictions and inputs: further from the reference than usual, in every one of the windows that must agree."""
    if windows < policy.persistence:
        why = f"Only {windows} of the {policy.persistence} windows of {policy.blocks} days that must agree is there."
        yield Rule(
            name="windows", evidence="inputs", fired=False, figure=windows, threshold=policy.persistence, why=why
        )
        return
    for column in columns:
        fired = column.excess > 1
        distance, limit = _weakest(column)
        what = "predictions" if column.name == SCORE else column.name
        moved_by = (
            f"{what} lies {distance:.3f} (Jensen-Shannon) or more from the reference in each of {windows} windows"
        )
        why = f"{moved_by}, usual is up to {limit:.3f}." if fired else f"{what} stayed within what is usual."
        evidence = "predictions" if column.name == SCORE else "inputs"
        yield Rule(name=column.name, evidence=evidence, fired=fired, figure=distance, threshold=limit, why=why)


def age(blocks: int, policy: Drift) -> Rule:
    """Age, in days of data since the champion's holdout."""
    fired = blocks > policy.maximum_age
    why = f"{blocks} days of data came since the champion's holdout, {policy.maximum_age} may."
    return Rule(name="age", evidence="age", fired=fired, figure=blocks, threshold=policy.maximum_age, why=why)


def _weakest(column: Column) -> tuple[float, float]:
    pairs: Sequence[tuple[float, float]] = list(zip(column.distance, column.threshold, strict=True))
    return min(pairs, key=lambda pair: pair[0] / pair[1])
