"""MLflow mirrors what git records: check it, record a training, browse the runs."""

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

# DOC tracking.browse: MLflow's pages, for whoever wants to look at the runs.

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


# DOC tracking.__init__: MLflow mirrors each trained model once, as a whole run or not at all. Git stays the record.


def check() -> None:
    """Ask before anything trains; raise where no run can be recorded, or warn where infra.yaml does not require it."""
    tracking = infra().tracking
    try:
        reach(tracking.address, tracking.experiment)
    except TrackingError as error:
        _missed(error, required=tracking.required)


def log() -> None:
    """Mirror the run that `dvc.lock` describes, unless it is there or its files are not on disk."""
    absent = [path for path in (LOCK, MODEL, METRICS, TRAINING) if not path.exists()]
    if absent:
        say(f"nothing trained here ({absent[0]} is not on disk), so nothing to record")
        return
    tracking = infra().tracking
    try:
        reach(tracking.address, tracking.experiment)
        from .tracking_runs import mirror  # MLflow takes seconds to import; only those who record a run wait for it

        say(mirror(tracking.address, tracking.experiment))
    except TrackingError as error:
        _missed(error, required=tracking.required)


def _missed(error: UserError, *, required: bool) -> None:
    if required:
        raise error
    say(f"warning: {error}; the run goes unrecorded, as tracking.required is false in infra.yaml", file=sys.stderr)
