"""Recording a training in MLflow: real servers, a real database, whole runs or none."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import onnxruntime as ort
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from tests.ops import trained
from tests.ops.tracking_servers import Backend, Server, backend, free_port, servers, wait

from pipeline.errors import UserError
from pipeline.ops import tracking
from pipeline.ops.tracking.server import shown

__all__ = ["backend", "servers"]

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which something was trained; its experiment is named like it."""
    folder = tmp_path / f"{tmp_path.parent.name}-{tmp_path.name}"
    folder.mkdir()
    trained.make(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # MLflow sets it itself; what it sets goes with the test
    return folder


@pytest.fixture
def client(backend: Backend, project: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", backend.uri)
    return MlflowClient(backend.uri)


def runs(client: MlflowClient, project: Path) -> list[Run]:
    """All that anyone would see of this project's runs, unfinished ones too."""
    experiment = client.get_experiment_by_name(project.name)
    return list(client.search_runs([experiment.experiment_id], "", ViewType.ACTIVE_ONLY)) if experiment else []


def command(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "track", *words],
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


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
    lineage = {"commit": commit, "branch": "trunk", "dirty": "false", "data": "abc.dir"}
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
        [sys.executable, "-m", "pipeline", "track"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
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


def test_the_default_needs_no_server_and_says_one_line(project: Path, servers: dict[str, Server]) -> None:
    # given a database as MLflow makes it (making it takes seconds)
    shutil.copy(servers["sqlite"].folder / "empty.db", project / "mlflow.db")
    # when
    check, log = command("--check"), command()
    # then
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")
    assert (log.returncode, log.stderr) == (0, "")
    assert log.stdout.endswith("`make mlflow` opens it\n")
    assert log.stdout.count("\n") == 1


def test_browsing_serves_the_database_and_ends_quietly(project: Path, servers: dict[str, Server]) -> None:
    # given
    shutil.copy(servers["sqlite"].folder / "empty.db", project / "mlflow.db")
    port = free_port()
    # when
    browsing = subprocess.Popen(
        [sys.executable, "-c", "from pipeline.ops import tracking; tracking.browse()"],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "MLFLOW_PORT": port},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait(f"http://127.0.0.1:{port}", browsing)
    browsing.send_signal(signal.SIGINT)
    # then
    said, _ = browsing.communicate(timeout=30)
    assert said.startswith(f"http://127.0.0.1:{port} shows the runs in sqlite:///mlflow.db")
    assert "Traceback" not in said
    assert browsing.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))


@pytest.fixture
def deaf() -> Iterator[str]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    "uri", ["http://me:secret@127.0.0.1:1", "http://me:secret@{deaf}", "postgresql://me:secret@127.0.0.1:1/mlflow"]
)
def test_a_server_that_is_down_is_told_before_anything_trains(project: Path, deaf: str, uri: str) -> None:
    # when
    started = time.monotonic()
    check = command("--check", MLFLOW_TRACKING_URI=uri.format(deaf=deaf))
    # then
    assert check.returncode == 1
    assert check.stderr.count("\n") == 1
    assert "does not answer" in check.stderr
    assert "secret" not in check.stderr
    assert time.monotonic() - started < 12  # five seconds of waiting, and starting Python on a busy machine


def test_a_server_that_is_not_required_is_only_missed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    infra = project / "infra.yaml"
    infra.write_text(infra.read_text() + "  required: false\n")
    # when
    tracking.check()
    tracking.log()
    # then
    assert capsys.readouterr().err.count("warning: the tracking server http://127.0.0.1:1 does not answer") == 2


def test_what_is_no_tracking_server_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for uri, why in (("mlruns", "no longer writes folders"), (f"sqlite:///{project}/infra.yaml", "not a database")):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(UserError, match=why):
            tracking.check()


@pytest.mark.parametrize("absent", ["models/model.onnx", "reports/metrics.json", "dvc.lock"])
def test_a_fresh_clone_has_nothing_to_record(project: Path, absent: str, capsys: pytest.CaptureFixture[str]) -> None:
    (project / absent).unlink()
    tracking.log()
    assert capsys.readouterr().out == f"nothing trained here ({absent} is not on disk), so nothing to record\n"


def test_nothing_is_imported_for_nothing(project: Path) -> None:
    (project / "models/model.onnx").unlink()
    code = "import sys; from pipeline.ops import tracking as t; t.check(); t.log(); sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SOURCE)}, check=True)


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


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("at http://me:p@ss@host:5000/x: no", "at http://host:5000/x: no"),
        ("postgresql+psycopg://host/db?user=me&password=p", "postgresql+psycopg://host/db?user=me&password=…"),
    ],
)
def test_credentials_are_never_shown(text: str, safe: str) -> None:
    assert shown(text) == safe
