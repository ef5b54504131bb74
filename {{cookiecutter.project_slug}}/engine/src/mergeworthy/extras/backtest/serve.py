"""The service, started in a copy as on a laptop, and asked whether it answers as the new model was judged."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from contextlib import chdir
from importlib.util import find_spec

import numpy as np

from ... import config as settings
from ...container import golden
from ...errors import UserError
from ...files import md5
from ...paths import MODEL
from .copy import Copy

PATIENCE = 60  # seconds until a service that does not answer is given up


def served(copy: Copy) -> str:
    """Say that the service answers with the copy's model; raise `UserError` where it answers otherwise."""
    if find_spec("bentoml") is None:
        return "not served: that takes the dependency group `serve`"
    with chdir(copy.folder):
        known, model = golden.read(), md5(MODEL)
    port = _free_port()
    with copy.log.open("a") as log:
        service = subprocess.Popen(
            ["make", "serve", f"PORT={port}"],
            cwd=copy.folder,
            env=copy.environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        connection = _ready(port, service)
        answers = json.loads(_ask(connection, "GET", "/model"))["model"]
        scores = json.loads(_ask(connection, "POST", "/predict", known.many))["scores"]
    finally:
        os.killpg(service.pid, signal.SIGTERM)
        service.wait()
    apart = float(np.abs(np.asarray(scores) - known.scores).max())
    if answers != model or not apart <= settings.gates().image.parity:
        raise UserError(f"the service answers with {answers}, {apart:.1g} from the predictions of {model}")
    return "served"


def _ready(port: int, service: "subprocess.Popen[bytes]") -> http.client.HTTPConnection:
    connection, begin = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE), time.monotonic()
    while service.poll() is None and time.monotonic() - begin < PATIENCE:
        try:
            _ask(connection, "GET", "/readyz")
        except (OSError, http.client.HTTPException, UserError):
            connection.close()
            time.sleep(0.1)
        else:
            return connection
    raise UserError("make serve does not answer in the replay: try it here")


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("SERVICE_TOKEN"):  # the copy's service has it too
        headers["Authorization"] = f"Bearer {token}"
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise UserError(f"the service answers {answer.status} to {path}: {said[:300].decode(errors='replace')}")
    return said


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
