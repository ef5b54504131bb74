"""The holdout (the newest partition, which no model is trained on), and the metrics of a model on it.

Evaluation and gate both measure here, so that the gate judges what the report shows. A label that is none of the task's
is refused, never cast to something else.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import files
from .errors import UserError
from .partitions import Partition, split
from .project import registered
from .stats import Floats, Targets

HOW_TO_FIX = "run `make pipeline`"


@dataclass(frozen=True)
class Holdout:
    """Labelled rows of the newest partition; `guess`, (width,), is the best constant score of the ones before it."""

    partition: Partition
    table: pl.DataFrame
    guess: Floats

    @property
    def label(self) -> Targets:
        """Labels as the task's array, shape (N,)."""
        return labels(self.table, self.partition.features)

    @property
    def guesses(self) -> Floats:
        """The constant guess for each row, in the shape of scores."""
        return constant(self.guess, self.table.height)


def read() -> Holdout:
    """Read the holdout from `features/`; raise `UserError` if there is none."""
    target, task = registered().target, registered().task
    earlier, partition = split("a holdout", HOW_TO_FIX)
    training, newest = [each.features for each in earlier], partition.features
    for path in [*training, newest]:
        check_label(files.scan_parquet([path], HOW_TO_FIX, [target]), path)
    with files.whole(training, HOW_TO_FIX):
        guess = task.guess(files.scan_parquet(training, HOW_TO_FIX, [target]))
    table = files.read_parquet(newest, HOW_TO_FIX, [target]).filter(pl.col(target).is_not_null())
    if table.is_empty() or guess is None:
        raise UserError(f"{newest}: no row has a known {target}, so nothing can be measured: choose a newer partition")
    return Holdout(partition, table, guess)


def constant(guess: Floats, rows: int) -> Floats:
    """Return one score, shape (width,), for each of N rows: shape (N,), or (N, width) if it has several numbers."""
    return np.full(rows, guess[0]) if len(guess) == 1 else np.tile(guess, (rows, 1))


def measure(holdout: Holdout, score: NDArray[np.floating[Any]]) -> dict[str, Any]:
    """Return the content of `reports/metrics.json`: the metrics of the model, and of a constant guess."""
    label = holdout.label
    return {
        "partition": holdout.partition,
        "rows": len(label),
        **registered().task.summary(label),
        "model": figures(label, score),
        "baseline": figures(label, holdout.guesses),
    }


def figures(label: Targets, score: NDArray[np.floating[Any]]) -> dict[str, float | None]:
    """Return every metric by name; None if it cannot be computed, because JSON has no NaN."""
    exact = score.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite scores have no figure
        values = {name: metric(label, exact) for name, metric in registered().all_metrics.items()}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def check_label(rows: pl.LazyFrame, where: str | Path) -> None:
    """Raise `UserError` naming `where` unless each label is null, or a target of the task.

    A column whose type admits nothing else passes by it. Other columns are read, and the error names the first value
    that is no target.
    """
    name, task, schema = registered().target, registered().task, rows.collect_schema()
    if name not in schema:
        raise UserError(f"{where}: there is no label column {name}: build_features must return it")
    wrong = task.wrong_targets(name, schema[name])
    if wrong is None:
        return
    first = rows.filter(wrong).select(name).head(1).collect().to_series()
    if len(first) or schema[name] == pl.Null:
        example = f", e.g. {first[0]!r}" if len(first) else ""
        raise UserError(
            f"{where}: the label {name} has type {schema[name]}{example}: {type(task).__name__} expects "
            f"{task.expectation}, or null if it is not known yet"
        )


def labels(table: pl.DataFrame, where: str | Path) -> Targets:
    """Return the labels of rows that have one, shape (N,); raise `UserError` naming `where` if one is no target."""
    check_label(table.lazy(), where)
    return registered().task.targets(table[registered().target])
