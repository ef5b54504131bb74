"""The engine's checks of every project, run on src/ml; `mergeworthy.testing` documents each."""

import pytest
from mergeworthy.testing import CHECKS, check_project


@pytest.mark.parametrize("check", CHECKS)
def test_the_project_passes(check: str) -> None:
    check_project(check)
