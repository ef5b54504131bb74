"""One training, one run, recorded once."""

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run

from ..process import shown
from . import record
from .content import log_verdict, tagged, write
from .runs import finished, whole
from .server import answered, connected


def mirror(uri: str, experiment: str) -> str:
    """Record the training that dvc.lock describes, and say in a line where; raise `TrackingError` and leave nothing."""
    found = record.read()
    lock, branch = found.tags["lock"], found.tags.get("branch", "local")
    with connected(uri) as client:
        number = answered(uri, lambda: mlflow.set_experiment(experiment)).experiment_id
        if run := finished(client, number, lock):
            return f"MLflow has this training already: {_place(uri, run)}{_add_verdict(client, run)}"
        with whole(client, number, f"{branch}-{lock[:8]}", tagged(found.tags)) as run:
            write(client, run.info.run_id, found)
    return f"recorded in MLflow ({found.size}): {_place(uri, run)}"


def _add_verdict(client: MlflowClient, run: Run) -> str:
    """Add what the gate said since the training was recorded; once there it is never changed."""
    outcome = record.verdict(run.data.tags["lock"])
    if outcome is None or "verdict" in run.data.tags:
        return ""
    log_verdict(client, run.info.run_id, outcome)
    return f", its verdict ({outcome}) now too"


def _place(uri: str, run: Run) -> str:
    """Say which run it is, and how to see it."""
    page = f"{shown(uri).rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    return f"run {run.info.run_name}, {page if uri.startswith('http') else '`make mlflow` opens it'}"
