"""The packaged sample, read once per session."""

import polars as pl
import pytest
from mergeworthy.data.sources import Flights


@pytest.fixture(scope="session")
def flights() -> dict[str, dict[str, pl.DataFrame]]:
    """Return the tables of each month of 2013, by month and table; frames are immutable, so tests share them."""
    source = Flights()
    return {month: source.read(month) for month in source.partitions()}
