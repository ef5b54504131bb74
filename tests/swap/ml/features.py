"""The measurements as they are: nothing becomes known over time, and nothing follows from them."""

from collections.abc import Mapping

import polars as pl

from .params import Params

LABEL = "malignant"
NOT_INPUTS = {"id", "clinic", "batch"}


def label(params: Params) -> pl.Expr:
    """Return the diagnosis, which is a column."""
    return pl.col(LABEL)


def build_features(tables: Mapping[str, pl.LazyFrame], params: Params) -> pl.LazyFrame:
    """Return every row with the batch that the gate resamples whole."""
    return tables["cells"].with_columns(batch=pl.col("id") // params.features.batch_rows)
