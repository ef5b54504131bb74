"""A small model made by the real stages, and the real service in front of it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import yaml
from tests.engine.product import PACKAGES, PRODUCT

from mergeworthy.data.contract import requested
from ml.schema import TABLES

STAGES = """
from mergeworthy.stages import evaluate, features, train
for stage in (features, train, evaluate): stage.main()
"""


@pytest.fixture(scope="session")
def trained(flights: dict[str, dict[str, pl.DataFrame]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a tiny network was trained on two months and scored, with the project's settings."""
    folder = tmp_path_factory.mktemp("trained")
    for month in ("2013-01", "2013-02"):
        (folder / "data" / month).mkdir(parents=True)
        for table, rows in flights[month].items():
            rows.write_parquet(folder / "data" / month / f"{table}.parquet")
    params = yaml.safe_load((PRODUCT / "params.yaml").read_text())
    params["train"] |= {"epochs": 1, "width": 8, "bins": 2}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    infra = yaml.safe_load((PRODUCT / "infra.yaml").read_text())
    infra["image"]["repository"] = "registry.example/model"  # unrendered, the template's own
    (folder / "infra.yaml").write_text(yaml.safe_dump(infra))
    shutil.copy(PRODUCT / "pyproject.toml", folder)
    (folder / "dvc.lock").write_text("schema: '2.0'\n")
    subprocess.run([sys.executable, "-c", STAGES], cwd=folder, check=True, env=environment())
    return folder


def environment(**more: str) -> dict[str, str]:
    """Return this environment, in which the packages of this checkout are found first."""
    return os.environ | {"PYTHONPATH": PACKAGES, "BENTOML_DO_NOT_TRACK": "True"} | more


@dataclass
class Server:
    """A running service."""

    process: subprocess.Popen[bytes]
    url: str
    folder: Path

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send the service a signal, and wait until it has ended."""
        self.process.send_signal(how)
        self.process.wait(timeout=30)

    def log(self) -> Path:
        """Return the folder of its prediction log."""
        return self.folder / "predictions"


Start = Callable[..., Server]


@pytest.fixture(scope="session")
def start(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start services in a copy of the folder; keyword arguments are settings under `serving` in infra.yaml."""
    running: list[Server] = []

    def begin(
        folder: Path | None = None,
        token: str | None = None,
        through: Sequence[str] = (),
        options: Sequence[str] = (),
        **serving: Any,
    ) -> Server:
        if folder is None:
            folder = tmp_path_factory.mktemp("service")
            shutil.copytree(trained, folder, dirs_exist_ok=True)
        infra = yaml.safe_load((folder / "infra.yaml").read_text())
        infra["serving"] = infra.get("serving", {}) | {"drain_seconds": 0.5} | serving
        (folder / "infra.yaml").write_text(yaml.safe_dump(infra))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "mergeworthy.serving.service"]
        with (folder / f"{port}.out").open("wb") as out:
            process = subprocess.Popen(
                [*through, *command, "--host", "127.0.0.1", "--port", str(port), *options],
                cwd=folder,
                env=environment(BENTOML_HOME=str(folder / "bentoml"), **({"SERVICE_TOKEN": token} if token else {})),
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        running.append(server := Server(process, f"http://127.0.0.1:{port}", folder))
        wait(server, folder / f"{port}.out")
        return server

    yield begin
    for server in running:
        if server.process.poll() is None:
            server.stop()


def wait(server: Server, out: Path) -> None:
    """Return as soon as it is ready; raise with its output if that takes more than a minute."""
    end = time.monotonic() + 60
    while time.monotonic() < end and server.process.poll() is None:
        try:
            if httpx.get(f"{server.url}/readyz", timeout=1).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(out.read_text())


@pytest.fixture(scope="session")
def server(start: Start) -> Server:
    """Return a service that many tests share."""
    return start()


@pytest.fixture(scope="session")
def golden(trained: Path) -> tuple[list[dict[str, Any]], list[float]]:
    """Return rows of the holdout as a client sends them, and their scores by the stage `evaluate`."""
    schema = TABLES["flights"]
    requests = pl.read_parquet(trained / "data/2013-02/flights.parquet").select(*requested(schema))
    scored = pl.read_parquet(trained / "reports/predictions.parquet")
    rows = scored.join(requests, on=schema.unique, maintain_order="left").with_columns(
        pl.col("sched_dep").dt.to_string("%Y-%m-%dT%H:%M:%S")
    )
    return rows.select(*requested(schema)).to_dicts(), rows["score"].to_list()
