"""What the engine expects of every project: see `mergeworthy.testing.project` for what each check asks."""

import pytest
from mergeworthy.testing import CHECKS, check_project


@pytest.mark.parametrize("check", CHECKS)
def test_the_project_keeps(check: str) -> None:
    check_project(check)
