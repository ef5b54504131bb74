"""A few months of the packaged sample, read once per session."""

import polars as pl
import pytest
from mergeworthy.data.sources import Demand

MONTHS = ("2023-10", "2023-11", "2023-12")


@pytest.fixture(scope="session")
def months() -> dict[str, pl.DataFrame]:
    """Return the table of each month; frames are immutable, so tests share them."""
    source = Demand()
    return {month: source.read(month)["counts"] for month in MONTHS}
