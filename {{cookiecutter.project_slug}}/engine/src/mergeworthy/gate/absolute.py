"""Checks that need no champion: what a model must show whatever main has."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..config import Bound, Cost
from ..errors import UserError
from ..paths import MODEL
from ..project import registered
from ..stats.metric import Floats
from ..verdict import Check

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
