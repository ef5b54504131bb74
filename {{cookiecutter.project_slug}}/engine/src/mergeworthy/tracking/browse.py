"""MLflow's pages, for whoever wants to look at the runs."""

import os
import signal
import subprocess
import sys

from ..config import infra
from ..errors import UserError
from ..process import shown
from ..text import say
from .server import interruptible, quiet

HOST = "127.0.0.1"
SERVER = ["server", "--host", HOST, "--workers", "1", "--uvicorn-opts", "--log-level warning"]


def browse() -> None:
    """Say where the tracking server is; where runs go to a database, serve its pages on loopback until Ctrl-C."""
    uri = infra().tracking.address
    if uri.startswith(("http", "databricks")):
        say(f"runs are recorded at {shown(uri)}")
        return
    quiet()
    # The address goes by the environment: a command line would show its password to everyone on the machine.
    where = {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    port = os.environ.get("MLFLOW_PORT", "5000")
    say(f"http://{HOST}:{port} shows the runs in {shown(uri)}, in some ten seconds; Ctrl-C ends it")
    # A session of its own: on Ctrl-C from the terminal the server's processes would end each other with tracebacks.
    command = [sys.executable, "-m", "mlflow", *SERVER, "--port", port]
    server = subprocess.Popen(command, env={**os.environ, **where}, start_new_session=True)
    with interruptible():
        try:
            server.wait()
        except KeyboardInterrupt:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
        else:
            raise UserError("MLflow's server ended by itself: what it printed above says why")
