"""The output of an engine's long command is shown, and its failure is one line."""

import sys

import pytest

from mergeworthy.errors import UserError
from mergeworthy.release.image import stream_engine


def test_the_output_of_a_failed_build_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    program = "import sys; print('no space left'); print('STEP 3', file=sys.stderr); sys.exit(3)"
    with pytest.raises(UserError, match="failed: see its output above"):
        stream_engine(sys.executable, "-c", program)
    # and it is not part of the command's result
    output = capfd.readouterr()
    assert output.out == ""
    assert {"no space left", "STEP 3"} == set(output.err.splitlines())
