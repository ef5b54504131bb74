"""Every bad model of the table is found, by the check that is for it."""

import pytest
from tests.attempts import refused, warned
from tests.engine.gate.bad_models import MODELS, Bad, judged
from tests.engine.gate.project import Project


@pytest.mark.attempts("bad model")
@pytest.mark.parametrize("bad", MODELS, ids=lambda bad: bad.name)
def test_a_bad_model_is_found_by_its_check(project: Project, bad: Bad) -> None:
    check = judged(bad, project)
    assert check is not None
    assert check.result == bad.result, check
    assert bad.words in check.why
    (warned if bad.result == "warn" else refused)(check.why)


def test_there_are_at_least_25_of_them() -> None:
    assert len({(bad.name, bad.wrong) for bad in MODELS}) >= 25
