"""The measurements as they are."""

from collections.abc import Mapping

import polars as pl

from .params import Params

LABEL = "malignant"


def build_features(tables: Mapping[str, pl.LazyFrame], params: Params) -> pl.LazyFrame:
    """Add the batch that the gate resamples whole."""
    return tables["cells"].with_columns(batch=pl.col("id") // params.features.batch_rows)
