"""A real MLflow server on loopback."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
