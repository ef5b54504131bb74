"""Requests per second, p50 and p99 of the service and of two bare servers of the same model on the same machine.

Runs in a generated project's environment and folder, on a trained model. The bare servers take feature rows (all 51
inputs) and only score them; the service takes flights, looks up their history, and logs every answer.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from mergeworthy.artifact import session
from mergeworthy.files import MODEL
from mergeworthy.holdout import read as read_holdout
from mergeworthy.release.verify import read_golden

SLACK = float(os.environ.get("SLACK", "1"))  # above 1 for a busy machine: looser limits, shorter runs
SECONDS, ROUNDS = (4.0, 3) if SLACK == 1 else (2.0, 1)
LOADS = [(1, 1), (1, 16), (100, 8)]  # rows in a request, requests at once
SERVICE, BARE_BENTOML, BARE_FASTAPI = "the service", "BentoML, bare", "FastAPI, bare"
MIN_OF_BENTOML, MIN_OF_FASTAPI = 0.9, 0.6  # share of their requests per second that the service must reach
MAX_P99_TO_P50 = 3
START_TIMEOUT = 30  # seconds
FEEDS = """
import numpy as np
from pathlib import Path
from mergeworthy.artifact import session as load
session = load(Path("models/model.onnx").read_bytes())
INPUTS = [(i.name, object if "string" in i.type else np.float32) for i in session.get_inputs()]
def score(rows):
    feeds = {name: np.array([[row[name]] for row in rows], dtype) for name, dtype in INPUTS}
    return session.run(["score"], feeds)[0].ravel().tolist()
"""
BENTO = (
    FEEDS
    + """
import bentoml
@bentoml.service(name="bare", logging={"access": {"enabled": False}}, tracing={"excluded_urls": ".*"})
class Bare:
    @bentoml.api
    async def predict(self, rows: list[dict[str, float | str | None]]) -> list[float]:
        return score(rows)
"""
)
FASTAPI = (
    FEEDS
    + """
from fastapi import FastAPI
from pydantic import BaseModel, create_model
Row = create_model("Row", **{name: (str if kind is object else float | None, ...) for name, kind in INPUTS})
class Body(BaseModel):
    rows: list[Row]
app = FastAPI()
@app.post("/predict")
async def predict(body: Body) -> list[float]:
    return score([row.__dict__ for row in body.rows])
"""
)


def commands(folder: Path, port: int) -> dict[str, list[str]]:
    """Return the command of each server; none of them logs requests."""
    (folder / "bare_bento.py").write_text(BENTO)
    (folder / "bare_fastapi.py").write_text(FASTAPI)
    bento = [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", str(port)]
    uvicorn = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    return {
        BARE_FASTAPI: [*uvicorn, "bare_fastapi:app"],
        BARE_BENTOML: [*bento, "bare_bento:Bare"],
        SERVICE: [
            sys.executable,
            "-m",
            "mergeworthy.serving.service",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
    }


def bodies(rows: int) -> tuple[bytes, bytes]:
    """Return a request of feature rows for the bare servers, and one of flights for the service."""
    table = read_holdout().table.head(rows)
    inputs = [column.name for column in session(MODEL.read_bytes()).get_inputs()]
    strings = pl.selectors.string().fill_null("")
    features = table.select(inputs).with_columns(pl.selectors.float().fill_nan(None), strings).to_dicts()
    flights = json.loads(read_golden().many)["rows"]
    return json.dumps({"rows": features}).encode(), json.dumps({"rows": (flights * rows)[:rows]}).encode()


async def client(port: int, body: bytes, until: float, times: list[float]) -> None:
    """Send requests over one connection until the time is up; raise unless every answer is a 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = (
        f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    while (begin := time.perf_counter()) < until:
        writer.write(headers.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in answer.split(b"\r\n")[0]:
            raise RuntimeError(answer.decode())
        await reader.readexactly(int(answer.split(b"content-length:")[1].split(b"\r\n")[0]))
        times.append(time.perf_counter() - begin)
    writer.close()


async def load(port: int, body: bytes, at_once: int, seconds: float) -> list[float]:
    """Return the seconds of each request."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(client(port, body, until, times) for _ in range(at_once)))
    return times


def measure(
    name: str, command: list[str], port: int, environment: dict[str, str]
) -> dict[Any, tuple[float, float, float]]:
    """Return requests per second, p50 and p99 in ms, for each load."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env=environment, start_new_session=True, **quiet)
    try:
        wait(port)
        figures = {}
        for rows, at_once in LOADS:
            body = bodies(rows)[name == SERVICE]
            asyncio.run(load(port, body, at_once, 1.0))
            times = np.array(asyncio.run(load(port, body, at_once, SECONDS))) * 1000
            figures[rows, at_once] = (len(times) / SECONDS, *(float(np.quantile(times, q)) for q in (0.5, 0.99)))
        return figures
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def wait(port: int) -> None:
    """Return as soon as a server answers; raise if that takes longer than `START_TIMEOUT`."""
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                if connection.recv(12)[9:12] in (b"200", b"404"):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the server does not answer")


def free_port() -> int:
    """Return a port on loopback that no process listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a server that finds the project's packages and writes below `folder`."""
    path = os.pathsep.join(["src", "engine/src", str(folder), os.environ.get("PYTHONPATH", "")])
    home = {"BENTOML_HOME": f"{folder}/bentoml", "PREDICTIONS_FOLDER": f"{folder}/log", "BENTOML_DO_NOT_TRACK": "True"}
    return os.environ | home | {"PYTHONPATH": path}


def main() -> None:
    """Print a Markdown table; exit 1 if the service is slower than the limits allow."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = [
            {
                server: measure(server, command, port, environment(folder))
                for server, command in commands(folder, port).items()
            }
            for _ in range(ROUNDS)
        ]
    print("| load | server | requests/s | p50 ms | p99 ms | of BentoML | of FastAPI |\n|---|---|---|---|---|---|---|")
    slow = []
    for rows, at_once in LOADS:
        medians = {server: np.median([run[server][rows, at_once] for run in runs], axis=0) for server in runs[0]}
        for server, (rate, p50, p99) in medians.items():
            of_bento, of_fastapi = rate / medians[BARE_BENTOML][0], rate / medians[BARE_FASTAPI][0]
            figures = f"{rate:.0f} | {p50:.2f} | {p99:.2f} | {of_bento:.2f} | {of_fastapi:.2f}"
            print(f"| {rows} rows, {at_once} at once | {server} | {figures} |")
            reached = min(of_bento / MIN_OF_BENTOML, of_fastapi / MIN_OF_FASTAPI, MAX_P99_TO_P50 * p50 / p99)
            if server == SERVICE and reached < 1 / SLACK:
                slow.append(f"{rows} rows, {at_once} at once")
    if slow:
        sys.exit(f"the service is slower than the limits of this benchmark: {'; '.join(slow)}")


if __name__ == "__main__":
    main()
