"""A finished trial in MLflow."""

import time
from collections.abc import Mapping

import mlflow
from mlflow.entities import Metric, Param

from ... import config as settings
from ...adapters.lineage import commit
from ...tracking.runs import whole
from ...tracking.server import answered, connected


def record(uri: str, sweep: str, chosen: Mapping[str, object], figures: Mapping[str, float], seconds: float) -> None:
    """Mirror it as a run of the experiment `<experiment>-sweeps`; raise `TrackingError`, leaving none."""
    with connected(uri) as client:
        name = f"{settings.infra().tracking.experiment}-sweeps"
        number = answered(uri, lambda: mlflow.set_experiment(name)).experiment_id
        with whole(client, number, sweep, {"sweep": sweep, "commit": commit() or "none"}) as run:
            now = int(time.time() * 1000)
            metrics = [Metric(name, value, now, 0) for name, value in {**figures, "train_seconds": seconds}.items()]
            client.log_batch(run.info.run_id, metrics, [Param(name, str(value)) for name, value in chosen.items()])
