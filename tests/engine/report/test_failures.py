"""The report if a file is missing or broken, and its section on cost."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.attempts import refusal
from tests.engine.pull_request import open_pull_request
from tests.engine.reported import BLOCK, Project, checks, git, write_report

from mergeworthy.adapters.git import BOT
from mergeworthy.files import METRICS, PREDICTIONS, TRAINING, VERDICT
from mergeworthy.report import sections
from mergeworthy.verdict import Check


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
        sections.run()


@pytest.mark.attempts("damaged file")
def test_a_verdict_that_is_missing_broken_or_of_another_lock_is_one_sentence(project: Project) -> None:
    (project.root / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    with refusal(r"verdict.json is about another dvc.lock.*`make gate`"):
        sections.run()
    VERDICT.write_text("{}")
    with refusal(r"verdict.json is not a verdict"):
        sections.run()
    VERDICT.unlink()
    with refusal(r"verdict.json is missing: run `make gate`"):
        sections.run()


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
        ({"conclusion": "skipped"}, '["gpu"]', "Nothing was trained in this run."),
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
    assert "All 4 stages ran." in text
    # and every commit and the run are links
    head, base = git(project.root, "rev-parse", "HEAD"), project.champion
    page = "https://github.com/o/r"
    assert (
        f"### What changed since [`{base[:12]}`]({page}/commit/{base}) ([compare]({page}/compare/{base}...{head}))"
        in text
    )
    last = text.splitlines()[-1]
    assert f"head of [pull request 5]({page}/pull/5) [`{head[:12]}`]({page}/commit/{head})" in last
    assert f"champion [`{base[:12]}`]({page}/commit/{base})" in last
    assert f"[run 77]({page}/actions/runs/77)" in last
    assert f"[`docs/reviewer.md`]({page}/blob/{head}/docs/reviewer.md)" in text


def test_a_commit_that_brought_its_lock_cost_nothing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = project.commit("Lock what was trained")
    open_pull_request(tmp_path / "github", monkeypatch, head, project.champion).change(
        jobs=[JOB | {"conclusion": "skipped"}]
    )
    text = write_report()
    assert "Nothing was trained in this run. 4 of 4 stages had nothing to do" in text
    assert "(`evaluate`, `features`, `train`, `validate` trained before)" in text
    assert "**Stages**: 4 of 4 differ from the champion's." in text


def test_a_second_run_names_the_minutes_of_the_run_that_trained(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a lock that run 41 trained and committed, and a run that finds nothing to do
    lock = hashlib.md5(Path("dvc.lock").read_bytes(), usedforsecurity=False).hexdigest()
    git(project.root, "add", "dvc.lock")
    trailers = f"Lock: {lock}\nRun: https://github.com/o/r/actions/runs/41\nMade: run cache allowed"
    message = ["--message", "Update dvc.lock", "--message", trailers]
    git(project.root, "commit", "--quiet", f"--author={BOT['GIT_AUTHOR_NAME']} <{BOT['GIT_AUTHOR_EMAIL']}>", *message)
    head = git(project.root, "rev-parse", "HEAD")
    pull = open_pull_request(tmp_path / "github", monkeypatch, head, project.champion)
    pull.change(jobs=[JOB | {"conclusion": "skipped"}], former_jobs={"41": [JOB]})
    monkeypatch.setenv("GPU_RUNNER", '["gpu"]')
    # then the report gives that run's minutes
    run = "[run 41](https://github.com/o/r/actions/runs/41)"
    nothing = "Nothing was trained in this run."
    assert f"{nothing} The training in {run} took **12.5 GPU minutes** on" in write_report()
    # and if GitHub has deleted that run, its link
    pull.change(former_jobs={})
    assert f"{nothing} {run} made the model." in write_report()


def test_the_time_to_the_verdict_counts_from_the_first_job_and_the_run_that_made_the_model_is_a_link(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = open_pull_request(tmp_path / "github", monkeypatch, git(project.root, "rev-parse", "HEAD"), project.champion)
    start = (datetime.now(UTC) - timedelta(hours=5)).isoformat()
    pull.change(jobs=[JOB | {"name": "checks", "started_at": start}, {"name": "report", "started_at": None}])
    why = "CI made it from scratch: https://github.com/o/r/actions/runs/41."
    project.judge(checks(Check(name="provenance", result="pass", why=why)), [], project.champion)
    made = "**Who made the model**: CI made it from scratch: [run 41](https://github.com/o/r/actions/runs/41)."
    assert made in write_report()
    (minutes,) = re.findall(r"Verdict after \*\*(\d+) minutes\*\*", write_report())
    assert int(minutes) >= 300


def test_all_plots_are_linked_if_the_run_keeps_them(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "`dvc pull reports/plots`" in write_report()
    monkeypatch.setenv("PLOTS_URL", "https://github.com/o/r/actions/runs/77/artifacts/5")
    assert "[the artifact of this run](https://github.com/o/r/actions/runs/77/artifacts/5)" in write_report()
