"""Every bad model of the table is reported by the check for it."""

import pytest
from tests.attempts import refused, warned
from tests.engine.gate.bad_models import MODELS, Bad, gate_check
from tests.engine.gate.project import Project


@pytest.mark.attempts("bad model")
@pytest.mark.parametrize("bad", MODELS, ids=lambda bad: bad.name)
def test_a_bad_model_is_reported_by_its_check(project: Project, bad: Bad) -> None:
    check = gate_check(bad, project)
    assert check is not None
    assert check.result == bad.result, check
    assert bad.words in check.why
    (warned if bad.result == "warn" else refused)(check.why)


def test_there_are_at_least_25_bad_models() -> None:
    assert len({(bad.name, bad.wrong) for bad in MODELS}) >= 25
