"""MLflow mirrors each trained model once, as a whole run or not at all; git stays the record.

`check` runs before anything trains, `log` records a training, `browse` serves MLflow's pages.
"""

import os
import signal
import subprocess
import sys

from .adapters.mlflow import TrackingError, interruptible, quiet, reach
from .config import infra
from .errors import UserError
from .paths import LOCK, METRICS, MODEL, TRAINING
from .process import shown
from .text import say

HOST = "127.0.0.1"
SERVER_OPTIONS = ["--host", HOST, "--workers", "1", "--uvicorn-opts", "--log-level warning"]


def check() -> None:
    """Raise `TrackingError` if no run can be recorded; only warn if infra.yaml does not require it."""
    tracking = infra().tracking
    try:
        reach(tracking.address, tracking.experiment)
    except TrackingError as error:
        _raise_or_warn(error, required=tracking.required)


def log() -> None:
    """Record the training that dvc.lock describes, unless MLflow has it or its files are not on disk."""
    absent = [path for path in (LOCK, MODEL, METRICS, TRAINING) if not path.exists()]
    if absent:
        say(f"nothing trained here ({absent[0]} is not on disk), so nothing to record")
        return
    tracking = infra().tracking
    try:
        reach(tracking.address, tracking.experiment)
        from .tracking_runs import mirror  # MLflow takes seconds to import; only recording a run needs it

        say(mirror(tracking.address, tracking.experiment))
    except TrackingError as error:
        _raise_or_warn(error, required=tracking.required)


def browse() -> None:
    """Print the tracking server's address; if runs go to a database, serve its pages on loopback until Ctrl-C."""
    uri = infra().tracking.address
    if uri.startswith(("http", "databricks")):
        say(f"runs are recorded at {shown(uri)}")
        return
    quiet()
    # The address is passed in the environment: a command line would show its password to everyone on the machine.
    variables = {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }
    port = os.environ.get("MLFLOW_PORT", "5000")
    say(f"http://{HOST}:{port} shows the runs in {shown(uri)}, in about ten seconds; Ctrl-C ends it")
    command = [sys.executable, "-m", "mlflow", "server", *SERVER_OPTIONS, "--port", port]
    # In the terminal's own session, Ctrl-C would make the server's processes end each other with tracebacks.
    server = subprocess.Popen(command, env={**os.environ, **variables}, start_new_session=True)
    with interruptible():
        try:
            server.wait()
        except KeyboardInterrupt:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
        else:
            raise UserError("MLflow's server ended by itself: see its output above")


def _raise_or_warn(error: UserError, *, required: bool) -> None:
    if required:
        raise error
    say(f"warning: {error}; the run goes unrecorded, as tracking.required is false in infra.yaml", file=sys.stderr)
