"""What is said before anything trains, and where there is nothing to record."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests.attempts import refusal, refused
from tests.engine.product import PACKAGES
from tests.engine.tracking.servers import Server, free_port, wait

from mergeworthy import tracking
from mergeworthy.process import shown


def command(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mergeworthy.cli", "track", *words],
        env={**os.environ, "PYTHONPATH": PACKAGES, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


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


@pytest.fixture
def deaf() -> Iterator[str]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.attempts("tracking server")
@pytest.mark.parametrize(
    "uri", ["http://me:secret@127.0.0.1:1", "http://me:secret@{deaf}", "postgresql://me:secret@127.0.0.1:1/mlflow"]
)
def test_a_server_that_is_down_is_told_before_anything_trains(project: Path, deaf: str, uri: str) -> None:
    # when
    started = time.monotonic()
    check = command("--check", MLFLOW_TRACKING_URI=uri.format(deaf=deaf))
    # then
    assert check.returncode == 1
    assert "does not answer" in refused(check.stderr)
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


@pytest.mark.attempts("tracking server")
def test_what_is_no_tracking_server_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for uri, why in (("mlruns", "no longer writes folders"), (f"sqlite:///{project}/infra.yaml", "not a database")):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with refusal(why):
            tracking.check()


@pytest.mark.attempts("tracking server")
def test_an_experiment_in_the_trash_is_told_before_anything_trains(client: MlflowClient, project: Path) -> None:
    # given the project's experiment, deleted on MLflow's pages
    tracking.check()
    client.delete_experiment(client.create_experiment(project.name))
    # then the check says it, and how it comes back
    with refusal(r"lies in the trash of .*experiments restore --experiment-id \d+"):
        tracking.check()


@pytest.mark.attempts("tracking server")
@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE alembic_version SET version_num = '0123456789ab'", "the schema 0123456789ab"),
        ("DROP TABLE alembic_version", "the schema of another program"),
        ("DELETE FROM alembic_version", "the schema of another program"),
    ],
)
def test_a_database_of_another_schema_is_told_before_anything_trains(
    project: Path, servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch, statement: str, found: str
) -> None:
    # given a database that another version of MLflow, or another program, wrote
    shutil.copy(servers["sqlite"].folder / "empty.db", project / "mlflow.db")
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute(statement)
        database.commit()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with refusal(f"{found}, and the MLflow that is installed wants [0-9a-f]{{12}}: "):
        tracking.check()


@pytest.mark.attempts("proxy")
def test_a_proxy_between_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:2")
    with refusal(r"by way of the proxy http://127.0.0.1:2 \(HTTP_PROXY; NO_PROXY=127.0.0.1 goes"):
        tracking.check()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with refusal() as error:
        tracking.check()
    assert "proxy" not in str(error.value)


@pytest.mark.parametrize("absent", ["models/model.onnx", "reports/metrics.json", "dvc.lock"])
def test_a_fresh_clone_has_nothing_to_record(project: Path, absent: str, capsys: pytest.CaptureFixture[str]) -> None:
    (project / absent).unlink()
    tracking.log()
    assert capsys.readouterr().out == f"nothing trained here ({absent} is not on disk), so nothing to record\n"


def test_nothing_is_imported_for_nothing(project: Path) -> None:
    (project / "models/model.onnx").unlink()
    code = "import sys; from mergeworthy import tracking as t; t.check(); t.log(); sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": PACKAGES}, check=True)


def test_browsing_serves_the_database_and_ends_quietly(project: Path, servers: dict[str, Server]) -> None:
    # given
    shutil.copy(servers["sqlite"].folder / "empty.db", project / "mlflow.db")
    port = free_port()
    # when
    browsing = subprocess.Popen(
        [sys.executable, "-c", "from mergeworthy import tracking; tracking.browse()"],
        env={**os.environ, "PYTHONPATH": PACKAGES, "MLFLOW_PORT": port},
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
