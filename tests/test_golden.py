"""The record of what each stage writes: its numbers change with its version, and its version with them."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.golden import ENGINE, Stage, covered, measured, problems, recorded


@pytest.fixture
def old() -> Stage:
    """A stage as recorded."""
    return Stage(version=1, covered="c", sha256="s", figures={"weights": [3, 0.5]})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ""),
        ({"figures": {"weights": [3, 0.500001]}}, ""),  # another CPU
        ({"figures": {"weights": [3, 0.51]}}, "weights: 0.51 instead of 0.5"),
        ({"figures": {"weights": [3, 0.5], "more": [1]}}, "more: only on one side"),
        ({"figures": {"weights": [3]}}, "weights: 1 figures instead of 2"),
        ({"sha256": "t"}, "names, types, counts or texts"),
        ({"sha256": "t", "covered": "d"}, ""),  # the team's code or a pin: dvc.yaml names it
        ({"version": 2}, "raised from 1 to 2 for nothing"),
        ({"version": 2, "sha256": "t"}, ""),
        ({"version": 0, "sha256": "t"}, "lower than the recorded 1"),
    ],
)
def test_a_version_is_raised_with_the_numbers_and_only_then(
    old: Stage, change: dict[str, object], expected: str
) -> None:
    found = problems({"train": old}, {"train": replace(old, **change)})  # type: ignore[arg-type]
    assert len(found) == bool(expected)
    assert all(expected in line for line in found)


@pytest.mark.dear
def test_the_stages_write_what_is_recorded(project: Path) -> None:
    assert problems(recorded(), measured(project)) == []


@pytest.mark.dear
def test_a_changed_stage_is_named_and_no_stage_behind_it(project: Path, tmp_path: Path) -> None:
    # given an engine that knows rarer categories and draws fewer bins, and one stage with a comment more
    engine = Path(shutil.copytree(ENGINE, tmp_path / "src"))
    edits = {
        "training.py": (">= minimum_category_rows", ">= minimum_category_rows - 10"),
        "tasks/binary.py": ("CALIBRATION_BINS, SCORE_BINS = 10, 40", "CALIBRATION_BINS, SCORE_BINS = 9, 40"),
        "stages/features.py": ("import shutil\n", "import shutil  # copies\n"),
    }
    for name, (before, after) in edits.items():
        path = engine / "mergeworthy" / name
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after, 1))
    found = problems(recorded(), measured(project, engine))
    assert [line.partition(":")[0] for line in found] == ["train", "evaluate"]


def test_the_record_is_of_todays_src_ml_and_pins() -> None:
    # or else a change of the engine would not be told from one of theirs
    old = {name for name, stage in recorded().items() if stage.covered != covered(name)}
    assert not old, f"run `python -m tests.golden`: src/ml or a pin changed since {', '.join(sorted(old))} was recorded"
