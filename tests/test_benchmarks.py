"""No figure of `make bench` is far from its limit; how far it is exactly, a quiet machine tells."""

from pathlib import Path

import pytest

from benchmarks.__main__ import run

pytestmark = [pytest.mark.dear, pytest.mark.alone]


@pytest.mark.parametrize("part", ["project", "cost", "quality", "training", "inference", "serving", "monitoring"])
def test_the_limits_are_kept_loosely(project: Path, part: str) -> None:
    table, kept = run(part, project, slack=2)
    assert kept, table
