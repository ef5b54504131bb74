"""Places to record a run at, started once a session, and a project in which something was trained."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from mlflow import MlflowClient
from tests.engine import trained
from tests.engine.tracking.servers import Server, start, wait


@pytest.fixture(scope="session")
def servers(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """`sqlite` and `postgresql`; `empty.db` in the former's folder is a database as MLflow makes it."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE mlflow")
    database = {"sqlite": "sqlite:///mlflow.db", "postgresql": postgres_url.rpartition("/")[0] + "/mlflow"}
    running = {name: start(tmp_path_factory.mktemp(name), uri) for name, uri in database.items()}
    try:
        for server in running.values():
            wait(server.uri, server.process)
        sqlite = running["sqlite"].folder
        shutil.copy(sqlite / "mlflow.db", sqlite / "empty.db")
        yield running
    finally:
        for server in running.values():
            os.killpg(server.process.pid, signal.SIGKILL)  # nothing in them outlives the session
        for server in running.values():
            server.process.wait(timeout=30)


@dataclass(frozen=True)
class Backend:
    """Where a test records, and where the artifacts of its experiment N go."""

    uri: str
    artifacts: Callable[[str], Path]


@pytest.fixture(params=["sqlite", "http over sqlite", "http over postgresql"])
def backend(request: pytest.FixtureRequest, servers: dict[str, Server], tmp_path: Path) -> Backend:
    """Each kind of place that a run can be recorded at."""
    if request.param == "sqlite":
        shutil.copy(servers["sqlite"].folder / "empty.db", tmp_path / "store.db")
        return Backend(f"sqlite:///{tmp_path}/store.db", lambda number: Path("mlruns") / number)
    server = servers[request.param.rpartition(" ")[-1]]
    return Backend(server.uri, lambda number: server.folder / "mlartifacts" / number)


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
