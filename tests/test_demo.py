"""What a stranger sees after the first command of the README."""

import json
from pathlib import Path

import pytest

from tests.bake import git

pytestmark = pytest.mark.dear


def test_the_demo_leaves_a_judged_model_and_plots(project: Path) -> None:
    assert json.loads((project / "reports/verdict.json").read_text())["outcome"] in {"pass", "warn"}
    assert json.loads((project / "reports/metrics.json").read_text())
    assert (project / "models/model.onnx").stat().st_size > 1000
    assert list((project / "reports/plots").glob("*.png"))


def test_what_a_run_writes_is_known_to_git_or_dvc(project: Path) -> None:
    # given the first commit and what was made since / then only the lock, the model's identity, waits for a commit
    assert {line[3:] for line in git(project, "status", "--porcelain").splitlines()} <= {"dvc.lock"}
