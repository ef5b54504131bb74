"""The sample, read once."""

import polars as pl
import pytest
from mergeworthy.data.sources import Flights


@pytest.fixture(scope="session")
def flights() -> dict[str, dict[str, pl.DataFrame]]:
    """Month → table → rows, of all of 2013. Frames are immutable; share them."""
    source = Flights()
    return {month: source.read(month) for month in source.partitions()}
