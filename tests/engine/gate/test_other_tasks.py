"""Multi-class and regression: a good model passes, and every bad model is reported by the check for it."""

from pathlib import Path

import pytest
from tests.attempts import refused, warned
from tests.engine.gate.bad_models import Bad, gate_check
from tests.engine.gate.other_tasks import BAD, MULTI_CLASS, REGRESSION, SAMPLES, Sample
from tests.engine.gate.project import Project, copy, create_project

EACH = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)


@pytest.fixture(scope="session")
def champions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """Return a project of each task whose main has a good model."""
    projects = {}
    for sample in SAMPLES:
        project = create_project(tmp_path_factory.mktemp(sample.name), sample)
        project.ship_file(sample.model())
        project.commit("The first model")
        project.dvc("push")
        project.sh("git", "switch", "--quiet", "--create", "work")
        projects[sample.name] = project
    return projects


@EACH
def test_a_model_that_differs_a_little_passes(champions: dict[str, Project], sample: Sample, tmp_path: Path) -> None:
    project = copy(champions[sample.name], tmp_path)
    project.ship_file(sample.model(noise=[0.01] * 3))
    verdict = project.gate()
    assert verdict.outcome == "pass", [check for check in verdict.checks if check.result != "pass"]
    assert {f"champion: {name}" for name in sample.gates["champion"]["margins"]} <= {
        check.name for check in verdict.checks
    }


@pytest.mark.attempts("bad model")
@pytest.mark.parametrize(
    ("sample", "bad"), [(sample, bad) for sample in SAMPLES for bad in BAD[sample.name]], ids=lambda value: value.name
)
def test_a_bad_model_is_reported_by_its_check(
    champions: dict[str, Project], sample: Sample, bad: Bad, tmp_path: Path
) -> None:
    check = gate_check(bad, copy(champions[sample.name], tmp_path))
    assert check is not None
    assert check.result == bad.result, check
    assert bad.words in check.why
    (refused if bad.result == "block" else warned)(check.why)


def test_another_task_begins_a_new_project(champions: dict[str, Project], tmp_path: Path) -> None:
    # given main's model of classes, and a branch that predicts minutes instead
    project = copy(champions[MULTI_CLASS.name], tmp_path)
    project.take(REGRESSION)
    project.ship_file(REGRESSION.model())
    # when the gate runs, then there is no champion, and a reviewer learns why
    verdict = project.gate()
    (check,) = [check for check in verdict.checks if check.name == "champion"]
    assert (check.result, verdict.outcome) == ("warn", "warn")
    assert "another question" in check.why
