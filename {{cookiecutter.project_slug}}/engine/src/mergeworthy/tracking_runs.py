"""Runs in MLflow: what is recorded of a training, written once, in one piece."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import mlflow.onnx
import numpy as np
import onnx
import polars as pl
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, ViewType
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from . import artifact, files
from .adapters import dvc_files
from .adapters.git import lineage
from .adapters.mlflow import TrackingError, answered, connected, explained, held_back, interruptible
from .errors import UserError
from .files import md5
from .paths import FEATURES, LOCK, METRICS, MODEL, PLOTS, TRAINING, VERDICT
from .process import shown

# DOC tracking.record: What there is to record of a training, read from disk and checked before a server hears of it.

Arrays = Mapping[str, np.ndarray[Any, Any]]
KINDS: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(string)": np.str_,
}
EXAMPLE_ROWS = 5
MEND = "run `make pipeline`"


@dataclass(frozen=True)
class Shipped:
    """The artifact with rows of the newest partition, input name → (5, 1), and its answer to them."""

    content: bytes
    example: Arrays
    answer: Arrays


@dataclass(frozen=True)
class Record:
    """One training. `history` holds a mapping per epoch; `verdict` is None unless it is about this very model."""

    tags: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    history: list[dict[str, float]]
    plots: list[Path]
    model: Shipped
    verdict: str | None

    @property
    def size(self) -> str:
        """How much there is of each."""
        epochs, megabytes = len(self.history), len(self.model.content) / 1e6
        return f"{len(self.metrics)} metrics, {epochs} epochs, {len(self.plots)} plots, model {megabytes:.2f} MB"


def read() -> Record:
    """Read it; raise `UserError` where a file is not the one that dvc.lock names, or cannot be used."""
    lock, tags = dvc_files.read(LOCK), lineage()
    written = dvc_files.outs(lock)
    for path in (MODEL, METRICS, TRAINING):
        if md5(path) != written.get(path.as_posix()):
            raise UserError(f"{path} is not the one that {LOCK} names: run `make pipeline`")
    figures = dvc_files.flat(files.read_mapping(METRICS, MEND), "/")
    return Record(
        tags={**tags, **{name: value for name, value in figures.items() if isinstance(value, str)}},
        params=dvc_files.params(lock),
        metrics={name.removeprefix("model/"): float(v) for name, v in figures.items() if isinstance(v, int | float)},
        history=_history(),
        plots=sorted(PLOTS.glob("*.png")),
        model=_shipped(),
        verdict=verdict(tags["lock"]),
    )


def verdict(lock: str) -> str | None:
    """Give the gate's outcome for this lock; None where it has not judged yet, or judged another one."""
    said = files.read_mapping(VERDICT, "run `make gate`") if VERDICT.exists() else {}
    return str(said["outcome"]) if said.get("lock") == lock and "outcome" in said else None


def _history() -> list[dict[str, float]]:
    rows = (
        files.read_csv(TRAINING, MEND, empty=True)
        .drop("epochs", strict=False)
        .cast(pl.Float64, strict=False)
        .to_dicts()
    )
    return [{name: value for name, value in row.items() if value is not None and math.isfinite(value)} for row in rows]


def _shipped() -> Shipped:
    content = files.read_bytes(MODEL, MEND)
    try:
        session = artifact.session(content)
        example = {i.name: _column(i.name, KINDS[i.type]) for i in session.get_inputs()}
        names = [output.name for output in session.get_outputs()]
        return Shipped(content, example, dict(zip(names, session.run(names, example), strict=True)))
    except Exception as error:
        raise UserError(f"{MODEL} does not run ({type(error).__name__}: {error}): run `make pipeline`") from error


def _column(name: str, kind: type[np.generic]) -> np.ndarray[Any, Any]:
    """Give the first rows of one input, (5, 1); a missing value where features/ is not on disk."""
    found = sorted(FEATURES.glob("*.parquet"))
    rows = files.scan_parquet(found[-1:], MEND, [name]).select(name).head(EXAMPLE_ROWS).collect() if found else None
    values = pl.Series([None]) if rows is None else rows[name]
    missing, dtype = ("", pl.String) if kind is np.str_ else (math.nan, pl.Float64)
    return values.cast(dtype).fill_null(missing).to_numpy().astype(kind).reshape(-1, 1)


# DOC tracking.content: What a run holds: parameters, figures, plots, the model that ships and the gate's verdict on
# it.

BATCH = 100  # what MLflow's API takes of parameters at once; of metrics it takes more


def write(client: MlflowClient, run: str, found: Record) -> None:
    """Fill a run. Final figures come before the model, which MLflow shows with those that it finds."""
    now = int(time.time() * 1000)
    params = [Param(name, str(value)) for name, value in found.params.items()]
    metrics = [Metric(name, value, now, 0) for name, value in found.metrics.items()]
    for row in found.history:
        step = int(row["epoch"])
        metrics += [Metric(f"epoch/{name}", value, now, step) for name, value in row.items() if name != "epoch"]
    for start in range(0, max(len(params), len(metrics)), BATCH):
        client.log_batch(run, metrics[start : start + BATCH], params[start : start + BATCH])
    for plot in found.plots:
        client.log_artifact(run, str(plot), "plots")
    answered(client.tracking_uri, lambda: _log_model(run, found.model))
    if found.verdict:
        log_verdict(client, run, found.verdict)


def _log_model(run: str, model: Shipped) -> None:
    mlflow.onnx.log_model(
        onnx.load_from_string(model.content),  # a fresh one: log_model alters what it is given
        name=MODEL.stem,
        run_id=run,
        signature=ModelSignature(_schema(model.example), _schema(model.answer)),
        input_example=dict(model.example),
        pip_requirements=[f"{package}=={version(package)}" for package in ("numpy", "onnx", "onnxruntime")],
        onnx_execution_providers=["CPUExecutionProvider"],  # what the gate judged it on
        save_as_external_data=False,
    )


def _schema(arrays: Arrays) -> Schema:
    """Named tensors; a row more or less is the same schema."""
    kinds = {name: np.dtype(str) if array.dtype.kind in "OU" else array.dtype for name, array in arrays.items()}
    return Schema([TensorSpec(kinds[name], (-1, *array.shape[1:]), name) for name, array in arrays.items()])


def tagged(tags: Mapping[str, str]) -> dict[str, str]:
    """Add the two that MLflow's own pages show."""
    known = {f"mlflow.source.git.{name}": tags[name] for name in ("commit", "branch") if name in tags}
    return {**tags, **known}


def log_verdict(client: MlflowClient, run: str, outcome: str) -> None:
    """Add the gate's verdict, as a file and as a tag to search by."""
    client.log_artifact(run, str(VERDICT))
    client.set_tag(run, "verdict", outcome)


# DOC tracking.runs: The life of a run: whole or gone.

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


# DOC tracking.mirror: One training, one run, recorded once.


def mirror(uri: str, experiment: str) -> str:
    """Record the training that dvc.lock describes, and say in a line where; raise `TrackingError` and leave nothing."""
    found = read()
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
    outcome = verdict(run.data.tags["lock"])
    if outcome is None or "verdict" in run.data.tags:
        return ""
    log_verdict(client, run.info.run_id, outcome)
    return f", its verdict ({outcome}) now too"


def _place(uri: str, run: Run) -> str:
    """Say which run it is, and how to see it."""
    page = f"{shown(uri).rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    return f"run {run.info.run_name}, {page if uri.startswith('http') else '`make mlflow` opens it'}"
