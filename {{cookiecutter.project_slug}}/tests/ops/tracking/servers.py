"""Real MLflow servers on loopback: one on SQLite, one on PostgreSQL, started side by side and once a session."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

PATIENCE = 120  # seconds; on an idle machine a server is up in 10


@dataclass(frozen=True)
class Server:
    """`folder` holds the artifacts of experiment N in `mlartifacts/N`."""

    uri: str
    folder: Path
    process: "subprocess.Popen[bytes]"


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start(folder: Path, database: str) -> Server:
    port = free_port()
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--backend-store-uri", database],
            cwd=folder,
            env={**os.environ, **quiet},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Server(f"http://127.0.0.1:{port}", folder, process)


def wait(uri: str, process: "subprocess.Popen[Any]") -> None:
    for _ in range(PATIENCE * 5):
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=5).close()  # noqa: S310
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                break
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"MLflow did not start at {uri} (exit code {process.returncode})")


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
