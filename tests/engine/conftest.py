"""What tests share: real months of the sample, read once a session, and a real database."""

import os
from pathlib import Path

import polars as pl
import pytest
from tests.engine.postgres import postgres_url
from tests.engine.small import january
from tests.turns import pytest_xdist_make_scheduler, taking_turns

from mergeworthy.data.sources import Flights
from mergeworthy.project import registered

pytest_plugins = ["tests.attempts"]

__all__ = ["january", "postgres_url", "pytest_xdist_make_scheduler"]

pytest_runtest_protocol = taking_turns(Path(__file__), Path(__file__).with_name("pytest.ini"))
registered()  # found in the product's folder, and kept: tests work in folders of their own

os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as the Makefile says
os.environ.pop("GITHUB_ACTIONS", None)  # CI runs the tests too: what they test is on a laptop unless they say otherwise


@pytest.fixture(scope="session")
def flights() -> dict[str, dict[str, pl.DataFrame]]:
    """The sample's first six months: month → table → rows. Frames are immutable; share them."""
    source = Flights()
    return {month: source.read(month) for month in source.partitions()[:6]}
