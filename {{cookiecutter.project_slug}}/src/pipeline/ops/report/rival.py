"""The champion's scores on this holdout, where it can be had: a plot without it is a plot all the same."""

import numpy as np

from ... import holdout
from ...errors import UserError
from ..gate import champion, scoring
from .curves import Bools, Floats


def score(commit: str | None, label: Bools) -> Floats | None:
    """Score the champion as the gate does; None where there is none, or rows or model cannot be had here."""
    if commit is None:
        return None
    try:
        rows, found = holdout.read(), champion.find(commit)
        same = found and np.array_equal(rows.label, label)
        return scoring.champion(found, rows.table) if found and same else None
    except UserError:
        return None
