"""The report if a file is missing or broken, and its section on cost."""

from pathlib import Path

import pytest
from tests.attempts import refusal
from tests.engine.pull_request import open_pull_request
from tests.engine.reported import BLOCK, Project, git, write_report

from mergeworthy.files import METRICS, PREDICTIONS, TRAINING, VERDICT
from mergeworthy.report import build


def test_a_gate_that_blocked_before_there_were_figures_still_gives_its_reason(project: Project) -> None:
    project.judge([BLOCK], [], project.champion)
    for path in (METRICS, PREDICTIONS):
        path.unlink()
    TRAINING.write_bytes(b"\xff\xfe broken")
    text = write_report()
    assert "auc is 0.0161 worse." in text
    assert "### Metrics" not in text
    assert "### Plots" not in text


@pytest.mark.attempts("damaged file")
@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        *((path, None, "is missing") for path in (METRICS, PREDICTIONS, TRAINING)),
        (METRICS, b"{", "is not the JSON object"),
        (METRICS, b'{"model": {"auc": 0.7}, "baseline": {}}', "model and baseline"),
        (PREDICTIONS, b"PAR1", "is not a whole parquet file"),
        (TRAINING, b"", "is not a whole CSV file"),
    ],
)
def test_behind_a_good_verdict_a_missing_or_broken_file_is_one_sentence(
    project: Project, path: Path, content: bytes | None, message: str
) -> None:
    path.unlink() if content is None else path.write_bytes(content)
    with refusal(rf"^{path}:? {message}.*: run `make pipeline`$"):
        build.run()


@pytest.mark.attempts("damaged file")
def test_a_verdict_that_is_missing_broken_or_of_another_lock_is_one_sentence(project: Project) -> None:
    (project.root / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    with refusal(r"verdict.json is about another dvc.lock.*`make gate`"):
        build.run()
    VERDICT.write_text("{}")
    with refusal(r"verdict.json is not a verdict"):
        build.run()
    VERDICT.unlink()
    with refusal(r"verdict.json is missing: run `make gate`"):
        build.run()


def test_a_part_that_fails_does_not_hide_the_others(project: Project) -> None:
    project.write("data.dvc", "- not what DVC writes\n")
    text = write_report()
    assert "**Data**: not available: data.dvc is not the YAML that DVC writes" in text
    assert "**Code**: 1 file under `src/`" in text
    assert "### Metrics" in text


JOB = {
    "name": "train / train",
    "conclusion": "success",
    "started_at": "2026-11-20T10:00:00Z",
    "completed_at": "2026-11-20T10:12:30Z",
    "labels": ["self-hosted", "gpu"],
}


@pytest.mark.parametrize(
    ("job", "variable", "sentence"),
    [
        ({}, '["self-hosted", "gpu"]', "Training took **12.5 GPU minutes** on `self-hosted`, `gpu`."),
        ({}, "", "Training took **12.5 minutes, no GPU runner,** on `self-hosted`, `gpu`."),
        ({"labels": ["ubuntu-24.04"]}, '["self-hosted", "gpu"]', "**12.5 minutes, no GPU runner,** on `ubuntu-24.04`."),
        ({"conclusion": "skipped"}, '["gpu"]', "Nothing was trained in this run: 0 minutes."),
    ],
)
def test_the_cost_is_what_github_counted(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    job: dict[str, object],
    variable: str,
    sentence: str,
) -> None:
    pull = open_pull_request(tmp_path / "github", monkeypatch, git(project.root, "rev-parse", "HEAD"), project.champion)
    pull.change(jobs=[JOB | {"name": "checks"}, JOB | job])
    monkeypatch.setenv("GPU_RUNNER", variable)
    text = write_report()
    assert sentence in text
    assert "The cache saved 0 of 4 stages." in text
    assert "[run 77](https://github.com/o/r/actions/runs/77)" in text.splitlines()[-1]


def test_a_commit_that_brought_its_lock_cost_nothing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = project.commit("Lock what was trained")
    open_pull_request(tmp_path / "github", monkeypatch, head, project.champion).change(
        jobs=[JOB | {"conclusion": "skipped"}]
    )
    text = write_report()
    assert "Nothing was trained in this run: 0 minutes. The cache saved 4 of 4 stages" in text
    assert "**Stages**: 4 of 4 rerun, 0 unchanged." in text  # against the champion
