"""The page of evidence is what the project holds, and says no where something is gone."""

import re
import shutil
from pathlib import Path

import pytest
from tests.engine.product import PRODUCT

from mergeworthy.errors import UserError
from mergeworthy.extras import evidence


def test_the_page_is_what_the_verb_writes() -> None:
    assert (PRODUCT / evidence.PAGE).read_text() == evidence.page(), "run `make evidence` in the product's folder"


def test_all_rows_are_there_and_each_has_evidence_or_a_reason() -> None:
    assert [len(rows) for rows in evidence.SCORE.values()] == [7, 7, 7, 7]
    assert len(evidence.LEVEL_2) == 6 + 7
    for row in [*(row for rows in evidence.SCORE.values() for row in rows), *evidence.LEVEL_2]:
        assert row.evidence or row.because, row.requirement
        assert row.because or any(name.startswith("make ") for name in row.evidence), row.requirement


def test_only_rows_with_a_reason_say_no_in_the_product() -> None:
    assert "is not there" not in evidence.page()


def test_evidence_that_is_gone_makes_a_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a project without the tests of its features, and with a canary in production's overlay
    before = evidence.page()
    folder = shutil.copytree(PRODUCT, tmp_path / "project", ignore=shutil.ignore_patterns("engine", "data", ".venv"))
    (folder / "tests/test_features.py").unlink()
    overlay = folder / "deploy/overlays/production/kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("components:\n", "components:\n  - ../../canary\n"))
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match="run `make evidence`"):
        evidence.run(check=True)
    evidence.run()
    evidence.run(check=True)
    after = (folder / evidence.PAGE).read_text()
    # then the one row says no, the other one no longer does, and the counts follow
    assert "Code of features is tested | no, because `tests/test_features.py` is not there |" in after
    assert "A model is tried on a part of the requests | no" in before
    assert "A model is tried on a part of the requests | `deploy/canary" in after
    data = [re.search(r"data (\d), ", page) for page in (before, after)]
    assert [int(match[1]) for match in data if match] == [4, 3]


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("make gate", True),
        ("make gold", False),
        ("mergeworthy.gate.checks.sanity", True),
        ("mergeworthy.gate.checks.insanity", False),
        ("mergeworthy.gait.checks.sanity", False),
        ("gates.yaml: slices", True),
        ("gates.yaml: slides", False),
        ("gate.yaml", False),
    ],
)
def test_evidence_is_looked_for(name: str, there: bool) -> None:
    assert evidence.exists(name) is there
