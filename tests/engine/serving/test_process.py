"""Start and end of the service's process: a failed start is one line, and a stop resets no connection."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.attempts import refused, works
from tests.engine.product import PRODUCT
from tests.engine.serving.conftest import Server, Start, environment
from tests.engine.serving.test_refusals import GOOD

COMMAND = [sys.executable, "-m", "mergeworthy.serving.service", "--host", "127.0.0.1"]
PARENT = "import subprocess, sys; subprocess.run(sys.argv[1:])"


def without_model(folder: Path) -> dict[str, str]:
    (folder / "models/model.onnx").unlink()
    return {}


def with_broken_model(folder: Path) -> dict[str, str]:
    (folder / "models/model.onnx").write_bytes(b"no model")
    return {}


def with_truncated_history(folder: Path) -> dict[str, str]:
    next((folder / "models/online").iterdir()).write_bytes(b"PAR1")
    return {}


def with_empty_token(folder: Path) -> dict[str, str]:
    return {"SERVICE_TOKEN": ""}


def with_other_features(folder: Path, before: str, after: str) -> dict[str, str]:
    shutil.copytree(PRODUCT / "src", folder / "src")
    features = folder / "src/ml/features.py"
    assert features.read_text().count(before) == 1
    features.write_text(features.read_text().replace(before, after))
    return {}


def with_failing_derive(folder: Path) -> dict[str, str]:
    return with_other_features(folder, 'columns["built"]', 'columns["bilt"]')


def with_derive_of_another_shape(folder: Path) -> dict[str, str]:
    return with_other_features(folder, '"minute": minute,', '"minute": minute[:1],')


def with_incomplete_derive(folder: Path) -> dict[str, str]:
    return with_other_features(folder, '"minute": minute,', "")


@pytest.mark.attempts("start of the service")
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_model, "models/model.onnx is missing: run `make pipeline`"),
        (with_broken_model, "models/model.onnx is not an ONNX model"),
        (with_truncated_history, ".parquet is not a whole parquet file"),
        (with_empty_token, "SERVICE_TOKEN must hold 16"),
        (with_failing_derive, "src/ml/features.py, line 65, in derive: KeyError: 'bilt'"),
        (with_derive_of_another_shape, "derive: minute must be an array of shape (3,) for 3 rows, got the shape (1,)"),
        (with_incomplete_derive, "the model reads minute, which a request cannot provide"),
    ],
)
def test_a_failed_start_is_one_line_and_an_exit(trained: Path, tmp_path: Path, spoil: Any, message: str) -> None:
    folder = tmp_path / "project"
    shutil.copytree(trained, folder)
    variables = spoil(folder)
    result = subprocess.run(
        [*COMMAND, "--port", "0"], cwd=folder, env=environment(**variables), capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert message in refused(result.stderr + result.stdout)


@pytest.mark.attempts("start of the service")
def test_a_port_in_use_is_one_line(server: Server, trained: Path) -> None:
    port = server.url.rpartition(":")[2]
    result = subprocess.run(
        [*COMMAND, "--port", port], cwd=trained, env=environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert f"port {port} of 127.0.0.1 is not available" in refused(result.stderr)


@pytest.mark.attempts("end of the service")
def test_a_killed_parent_leaves_no_process_on_the_port(start: Start) -> None:
    # given a service that was started as `make serve` does, and whose parent is killed
    server = start(through=[sys.executable, "-c", PARENT], options=["--with-parent"])
    (child,) = psutil.Process(server.process.pid).children()
    server.stop(signal.SIGKILL)
    # then it ends too
    child.wait(timeout=60)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", int(server.url.rpartition(":")[2])))
    works("the port is free")


@pytest.mark.attempts("end of the service")
def test_sigterm_under_load_resets_no_connection(start: Start) -> None:
    # given clients with new and with kept connections, that go on until the service is not ready any more
    server, failed, statuses, stopped = start(drain_seconds=4), list[str](), list[int](), threading.Event()

    def ask(*, keep: bool) -> None:
        client = httpx.Client(base_url=server.url)
        while not stopped.is_set():
            try:
                statuses.append(client.post("/predict", json={"rows": [GOOD]}).status_code)
            except httpx.TransportError as error:
                failed.append(repr(error))
            if not keep:
                client.close()
                client = httpx.Client(base_url=server.url)
        client.close()

    clients = [threading.Thread(target=ask, kwargs={"keep": bool(number % 2)}) for number in range(6)]
    for client in clients:
        client.start()
    # when it gets SIGTERM
    server.process.send_signal(signal.SIGTERM)
    while httpx.get(f"{server.url}/readyz").status_code == 200:
        time.sleep(0.05)
    before = len(statuses)
    closing = httpx.post(f"{server.url}/predict", json={"rows": [GOOD]}).headers["connection"]
    while len(statuses) < before + 50:
        time.sleep(0.05)
    stopped.set()
    for client in clients:
        client.join()
    # then every request was answered, on connections that the answers close
    assert server.process.wait(timeout=60) == 0
    assert (failed, set(statuses), closing) == ([], {200}, "close")
    works("every connection was answered")
