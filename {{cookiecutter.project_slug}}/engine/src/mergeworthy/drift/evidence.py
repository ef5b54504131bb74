"""Evidently's HTML, for people: the bins that the decision was made on, with Evidently's own figure for each column.

It is rendered from counts, so it costs the same for a thousand rows as for ten million, and shows what was compared.
What costs is each column's drawings, so those that moved most are shown; `reports/drift.json` has all of them.
"""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..text import NAME, label, say
from .decision import Column, Decision

ROWS, MOST = 10_000, 20  # that the shares are rendered as, columns that are shown
METHOD = "jensenshannon"


def write(path: Path, decision: Decision) -> None:
    """Write the report on the newest window; where Evidently is not installed, say so."""
    columns = [column for column in decision.columns if column.threshold][:MOST]  # the furthest moved come first
    if find_spec("evidently") is None or not columns:
        say(f"{path} is not written: it takes Evidently (dependency group `monitor`) and a whole window")
        return
    with warnings.catch_warnings(action="ignore"):  # of Evidently's own dependencies
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        names = named(columns)
        limits = {name: one.threshold[-1] for name, one in zip(names, columns, strict=True)}
        definition = DataDefinition(categorical_columns=names)
        now = pd.DataFrame({name: spread(one.now, one.labels) for name, one in zip(names, columns, strict=True)})
        before = pd.DataFrame({name: spread(one.before, one.labels) for name, one in zip(names, columns, strict=True)})
        report = Report([DataDriftPreset(columns=names, method=METHOD, per_column_threshold=limits)])
        run = report.run(Dataset.from_pandas(now, definition), Dataset.from_pandas(before, definition))
        run.save_html(str(path))


def named(columns: Sequence[Column]) -> list[str]:
    """Return a name for each column that means nothing to HTML; numbered where two would be called the same."""
    names = [label(column.name, NAME) for column in columns]
    return names if len({*names}) == len(names) else [f"{place:02} {name}" for place, name in enumerate(names)]


def spread(shares: list[float], labels: list[str]) -> list[str]:
    """Give `ROWS` values in these shares, as exactly as so many rows can."""
    ends = np.rint(np.cumsum(shares) / max(sum(shares), 1e-12) * ROWS).astype(int)
    ordered = [f"{place:02} {label(name, NAME)}" for place, name in enumerate(labels)]
    return np.repeat(ordered, np.diff(ends, prepend=0)).tolist()
