"""What an engine says of a long command is in sight, and one line tells that it failed."""

import sys

import pytest

from mergeworthy.container.build import show_engine
from mergeworthy.errors import UserError


def test_the_reason_of_a_failed_build_is_in_sight(capfd: pytest.CaptureFixture[str]) -> None:
    program = "import sys; print('no space left'); print('STEP 3', file=sys.stderr); sys.exit(3)"
    with pytest.raises(UserError, match="failed, for the reason that stands above"):
        show_engine(sys.executable, "-c", program)
    # and not among what a verb answers with
    said = capfd.readouterr()
    assert said.out == ""
    assert {"no space left", "STEP 3"} == set(said.err.splitlines())
