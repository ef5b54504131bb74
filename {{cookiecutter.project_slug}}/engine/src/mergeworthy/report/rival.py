"""The champion's scores on this holdout, as the gate noted them: a plot without them is a plot all the same."""

import polars as pl

from ..errors import UserError
from ..paths import CHAMPION
from ..project import registered
from .curves import Floats


def score(predictions: pl.DataFrame) -> Floats | None:
    """Return the champion's score of each row, shape (N,); None if the gate compared with none, or not on all rows."""
    try:
        keys = registered().key
        found = predictions.select(keys).join(
            pl.read_parquet(CHAMPION), on=keys, how="left", nulls_equal=True, maintain_order="left"
        )["score"]
    except (OSError, UserError, pl.exceptions.PolarsError):
        return None
    return None if found.null_count() or len(found) != predictions.height else found.to_numpy()
