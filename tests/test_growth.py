"""What a user pays for more data: a month more costs a month, and memory stays flat."""

import re
from pathlib import Path

import pytest

from tests.bake import ROOT
from tests.work import python


@pytest.mark.dear
@pytest.mark.alone
def test_a_year_of_data_keeps_to_its_bounds(project: Path) -> None:
    told = python(project, str(ROOT / "benchmarks/growth.py"), "--years", "1")  # raises where a bound is missed
    (row,) = re.findall(r"^\| 336,776 \|.*", told, re.MULTILINE)
    assert len(re.findall(r"\d+\.\d \([\d,]+\)", row)) == 6
