"""Recording a training in MLflow: real servers, real databases, whole runs or none."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import onnxruntime as ort
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from tests.engine import trained
from tests.engine.product import PACKAGES
from tests.engine.tracking.conftest import Backend

from mergeworthy import tracking
from mergeworthy.errors import UserError


def runs(client: MlflowClient, project: Path) -> list[Run]:
    """All that anyone would see of this project's runs, unfinished ones too."""
    experiment = client.get_experiment_by_name(project.name)
    return list(client.search_runs([experiment.experiment_id], "", ViewType.ACTIVE_ONLY)) if experiment else []


def test_a_training_becomes_one_whole_run(
    client: MlflowClient, project: Path, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    # when it is recorded twice
    tracking.check()
    tracking.log()
    tracking.log()
    first, second = capsys.readouterr().out.splitlines()
    # then there is one run, and the second time says so
    (run,) = runs(client, project)
    assert first.startswith("recorded in MLflow")
    assert second.startswith(f"MLflow has this training already: run {run.info.run_name}")
    assert run.info.status == "FINISHED"
    # and it holds what git, DVC and the reports say
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    lineage = {"commit": commit, "branch": "trunk", "dirty": "false", "data": "abc.dir", "partition": "2013-06"}
    lineage |= {"lock": trained.md5(project / "dvc.lock"), "model": trained.md5(project / "models/model.onnx")}
    assert lineage.items() <= run.data.tags.items()
    assert run.data.params == {"train.epochs": "2", "train.rate": "0.01", "compute.threads": "2"}
    assert run.data.metrics == {"rows": 99, "auc": 0.7, "baseline/auc": 0.5, "epoch/train_loss": 0.4}
    history = client.get_metric_history(run.info.run_id, "epoch/train_loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.6), (2, 0.4)]
    assert [file.path for file in client.list_artifacts(run.info.run_id, "plots")] == ["plots/roc.png"]
    # and the model in it is the one on disk, with a signature, and answers as onnxruntime does
    assert run.outputs
    address = f"models:/{run.outputs.model_outputs[0].model_id}"
    content = (project / "models/model.onnx").read_bytes()
    assert (Path(mlflow.artifacts.download_artifacts(address)) / "model.onnx").read_bytes() == content
    loaded = mlflow.pyfunc.load_model(address)
    assert loaded.metadata.signature.inputs.input_names() == ["distance", "carrier"]
    example = loaded.input_example
    expected = ort.InferenceSession(content).run(["score"], example)[0]
    assert example["distance"].shape == (3, 1)
    assert expected[2] == 0  # the carrier that is missing in the newest partition
    assert (loaded.predict(example)["score"] == expected).all()
    assert (
        ort.InferenceSession(mlflow.onnx.load_model(address).SerializeToString()).run(None, example)[0] == expected
    ).all()


def test_a_failure_in_the_middle_leaves_no_run(client: MlflowClient, project: Path, backend: Backend) -> None:
    # given a file where the artifact store wants to make a folder
    obstacle = backend.artifacts(client.create_experiment(project.name))
    obstacle.parent.mkdir(exist_ok=True)
    obstacle.write_text("")
    # when the recording fails at the first plot
    with pytest.raises(UserError, match="was removed half-made: the tracking server"):
        tracking.log()
    # then nothing is left, and the next try is whole
    assert runs(client, project) == []
    obstacle.unlink()
    tracking.log()
    assert [run.info.status for run in runs(client, project)] == ["FINISHED"]


@pytest.mark.parametrize("backend", ["http over sqlite"], indirect=True)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_run(client: MlflowClient, project: Path, how: signal.Signals) -> None:
    # given enough plots to take a while
    for number in range(400):
        (project / f"reports/plots/{number}.png").write_bytes(trained.PIXEL)
    # when it is interrupted once the run is there
    recording = subprocess.Popen(
        [sys.executable, "-m", "mergeworthy.cli", "track"],
        env={**os.environ, "PYTHONPATH": PACKAGES},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (seen := runs(client, project)) and recording.poll() is None:
        time.sleep(0.05)
    recording.send_signal(how)
    # then it says so in a line, and nothing is left
    _, said = recording.communicate(timeout=30)
    assert seen
    assert said == f"error: MLflow run {seen[0].info.run_name} was removed half-made: interrupted\n"
    assert recording.returncode == 1
    assert runs(client, project) == []


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_before_the_server_answers_leaves_no_run(
    client: MlflowClient, project: Path, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a signal that comes when the server has made the run, and its answer is on the way
    create = MlflowClient.create_run

    def answered_late(*arguments: Any, **named: Any) -> Run:
        run = create(*arguments, **named)
        os.kill(os.getpid(), how)
        return run

    monkeypatch.setattr(MlflowClient, "create_run", answered_late)
    # when / then
    with pytest.raises(UserError, match="was removed half-made: interrupted"):
        tracking.log()
    assert runs(client, project) == []


@pytest.mark.parametrize("backend", ["http over postgresql"], indirect=True)
def test_what_a_kill_left_behind_goes_with_the_next_recording(client: MlflowClient, project: Path) -> None:
    # given two unfinished runs: one of two hours ago, one that another job may be writing just now
    tags = {"lock": trained.md5(project / "dvc.lock")}
    experiment, now = client.create_experiment(project.name), int(time.time() * 1000)
    client.create_run(experiment, now - 7_200_000, tags)
    busy = client.create_run(experiment, now, tags).info.run_id
    # when
    tracking.log()
    # then
    assert {run.info.run_id for run in runs(client, project) if run.info.status != "FINISHED"} == {busy}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_verdict_follows_when_the_gate_has_judged(
    client: MlflowClient, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = project / "reports/verdict.json"
    # given a verdict on another training
    verdict.write_text(json.dumps({"outcome": "pass", "lock": "another"}))
    tracking.log()
    assert "verdict" not in runs(client, project)[0].data.tags
    # when the gate judges this one
    verdict.write_text(json.dumps({"outcome": "warn", "lock": trained.md5(project / "dvc.lock")}))
    tracking.log()
    # then it is added to the same run
    assert capsys.readouterr().out.endswith("its verdict (warn) now too\n")
    (run,) = runs(client, project)
    assert run.data.tags["verdict"] == "warn"
    assert "verdict.json" in [file.path for file in client.list_artifacts(run.info.run_id)]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_model_that_does_not_run_is_refused_before_a_run_is_made(client: MlflowClient, project: Path) -> None:
    (project / "models/model.onnx").write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"model\.onnx is not the one that dvc\.lock names"):
        tracking.log()
    trained.lock(project)
    with pytest.raises(UserError, match=r"model\.onnx does not run"):
        tracking.log()
    (project / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    with pytest.raises(UserError, match=r"model\.onnx is not the one that dvc\.lock names"):
        tracking.log()
    assert runs(client, project) == []
