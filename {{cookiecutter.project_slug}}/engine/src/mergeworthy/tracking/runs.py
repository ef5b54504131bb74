"""The life of a run: whole or gone."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from ..errors import UserError
from .server import TrackingError, explained, held_back, interruptible

ABANDONED = 3600_000  # milliseconds after which an unfinished run is one that was killed; recording takes seconds


def finished(client: MlflowClient, experiment: str, lock: str) -> Run | None:
    """Find the whole run of this lock; remove what a kill left behind of an earlier try."""
    runs = client.search_runs([experiment], f"tags.lock = '{lock}'", ViewType.ACTIVE_ONLY)
    for run in runs:
        if run.info.status != "FINISHED" and run.info.start_time < time.time() * 1000 - ABANDONED:
            _removed(client, run)
    return next((run for run in runs if run.info.status == "FINISHED"), None)


@contextmanager
def whole(client: MlflowClient, experiment: str, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """Open a run that is finished on leaving; on an error or an interruption it is removed."""
    run = None
    with interruptible():
        try:
            with held_back():  # the server has the run before its answer is here
                run = client.create_run(experiment, run_name=name, tags=dict(tags))
            yield run
            client.set_terminated(run.info.run_id)
        except BaseException as error:
            if run is None:
                raise
            fate = _removed(client, run)
            if isinstance(error, Exception):
                raise TrackingError(f"{fate}: {explained(client.tracking_uri, error)}") from error
            raise UserError(f"{fate}: interrupted") from error


def _removed(client: MlflowClient, run: Run) -> str:
    """Remove a run with its model, and say so; or say that even this failed."""
    name, number = run.info.run_name, run.info.run_id
    try:
        outputs = client.get_run(number).outputs
        for model in outputs.model_outputs if outputs else []:
            client.delete_logged_model(model.model_id)
        client.delete_run(number)
    except Exception:  # noqa: BLE001 (what broke the run is the error to tell, not this one)
        return f"MLflow run {name} is left unfinished, and goes with the first recording after an hour"
    return f"MLflow run {name} was removed half-made"
