"""MLflow mirrors each trained model once, as a whole run or not at all; git stays the record.

`check` runs before anything trains, `log` records a training, `browse` serves MLflow's pages. `read_record` reads a
training from disk and checks it before a server is asked anything. `mirror` writes it as one run: parameters, metrics,
plots, the model that ships, and the gate's verdict. MLflow takes seconds to import, so only what writes a run does it.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from . import artifact, files
from .adapters import dvc
from .adapters.dvc import lineage
from .adapters.mlflow import (
    TrackingError,
    answered,
    connected,
    deferred_signals,
    explained,
    interruptible,
    quiet,
    reach,
)
from .config import infra
from .errors import UserError
from .files import LOCK, METRICS, MODEL, PLOTS, TRAINING, VERDICT, md5
from .partitions import built
from .process import shown
from .text import say

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.types import Schema

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


Arrays = Mapping[str, np.ndarray[Any, Any]]
ONNX_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(string)": np.str_,
}
EXAMPLE_ROWS = 5
BATCH = 100  # parameters that MLflow's API accepts at once; of metrics it accepts more
HOW_TO_FIX = "run `make pipeline`"
ABANDONED = 3600_000  # milliseconds after which an unfinished run counts as killed; recording one takes seconds


@dataclass(frozen=True)
class Example:
    """The model's file, with rows of the newest partition as inputs, name → (5, 1), and its outputs for them."""

    content: bytes
    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True)
class Record:
    """One training. `history` has a mapping per epoch; `verdict` is None unless it is about this model."""

    tags: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    history: list[dict[str, float]]
    plots: list[Path]
    model: Example
    verdict: str | None

    @property
    def size(self) -> str:
        """Return in words how much there is of each."""
        epochs, megabytes = len(self.history), len(self.model.content) / 1e6
        return f"{len(self.metrics)} metrics, {epochs} epochs, {len(self.plots)} plots, model {megabytes:.2f} MB"


def mirror(uri: str, experiment: str) -> str:
    """Record the training that dvc.lock describes as one run, unless it is recorded; return a line that names the run.

    Raise `TrackingError` and leave nothing if that fails.
    """
    record = read_record()
    import mlflow

    lock, branch = record.tags["lock"], record.tags.get("branch", "local")
    with connected(uri) as client:
        number = answered(uri, lambda: mlflow.set_experiment(experiment)).experiment_id
        if run := finished_run(client, number, lock):
            return f"MLflow has this training already: {_place(uri, run)}{_add_verdict(client, run)}"
        with run_or_nothing(client, number, f"{branch}-{lock[:8]}", _with_source(record.tags)) as run:
            _write(client, run.info.run_id, record)
    return f"recorded in MLflow ({record.size}): {_place(uri, run)}"


def finished_run(client: MlflowClient, experiment: str, lock: str) -> Run | None:
    """Return the finished run of this lock; None if there is none. Remove the runs that killed recordings left."""
    from mlflow.entities import ViewType

    runs = client.search_runs([experiment], f"tags.lock = '{lock}'", ViewType.ACTIVE_ONLY)
    for run in runs:
        if run.info.status != "FINISHED" and run.info.start_time < time.time() * 1000 - ABANDONED:
            _remove(client, run)
    return next((run for run in runs if run.info.status == "FINISHED"), None)


def verdict(lock: str) -> str | None:
    """Return the outcome of the gate for this lock; None if the gate judged none yet, or another one."""
    content = files.read_mapping(VERDICT, "run `make gate`") if VERDICT.exists() else {}
    return str(content["outcome"]) if content.get("lock") == lock and "outcome" in content else None


# Reading a training from disk.


def read_record() -> Record:
    """Return the training on disk; raise `UserError` if a file is not the one that dvc.lock names, or is unusable."""
    lock, tags = dvc.read(LOCK), lineage()
    md5_by_path = dvc.outs(lock)
    for path in (MODEL, METRICS, TRAINING):
        if md5(path) != md5_by_path.get(path.as_posix()):
            raise UserError(f"{path} is not the one that {LOCK} names: {HOW_TO_FIX}")
    figures = dvc.flat(files.read_mapping(METRICS, HOW_TO_FIX), "/")
    return Record(
        tags={**tags, **{name: value for name, value in figures.items() if isinstance(value, str)}},
        params=dvc.params(lock),
        metrics={name.removeprefix("model/"): float(v) for name, v in figures.items() if isinstance(v, int | float)},
        history=_history(),
        plots=sorted(PLOTS.glob("*.png")),
        model=_example(),
        verdict=verdict(tags["lock"]),
    )


def _history() -> list[dict[str, float]]:
    table = files.read_csv(TRAINING, HOW_TO_FIX, empty=True).drop("epochs", strict=False)
    rows = table.cast(pl.Float64, strict=False).to_dicts()
    return [{name: value for name, value in row.items() if value is not None and math.isfinite(value)} for row in rows]


def _example() -> Example:
    content = files.read_bytes(MODEL, HOW_TO_FIX)
    try:
        session = artifact.session(content)
        inputs = {i.name: _column(i.name, ONNX_TYPES[i.type]) for i in session.get_inputs()}
        names = [output.name for output in session.get_outputs()]
        return Example(content, inputs, dict(zip(names, session.run(names, inputs), strict=True)))
    except Exception as error:
        raise UserError(f"{MODEL} does not run ({type(error).__name__}: {error}): {HOW_TO_FIX}") from error


def _column(name: str, kind: type[np.generic]) -> np.ndarray[Any, Any]:
    """Return the first rows of one input, (5, 1); one missing value if features/ is not on disk."""
    newest = [partition.features for partition in built()[-1:]]
    if newest:
        scan = files.scan_parquet(newest, HOW_TO_FIX, [name])
        values = scan.select(name).head(EXAMPLE_ROWS).collect()[name]
    else:
        values = pl.Series([None])
    missing, dtype = ("", pl.String) if kind is np.str_ else (math.nan, pl.Float64)
    return values.cast(dtype).fill_null(missing).to_numpy().astype(kind).reshape(-1, 1)


# Writing a run.


def _with_source(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags with the two that MLflow's own pages show."""
    source = {f"mlflow.source.git.{name}": tags[name] for name in ("commit", "branch") if name in tags}
    return {**tags, **source}


@contextmanager
def run_or_nothing(client: MlflowClient, experiment: str, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """Open a run that is finished at the end of the block; on an error or an interruption it is removed."""
    run = None
    with interruptible():
        try:
            with deferred_signals():  # the server has the run before its answer arrives here
                run = client.create_run(experiment, run_name=name, tags=dict(tags))
            yield run
            client.set_terminated(run.info.run_id)
        except BaseException as error:
            if run is None:
                raise
            fate = _remove(client, run)
            if isinstance(error, Exception):
                raise TrackingError(f"{fate}: {explained(client.tracking_uri, error)}") from error
            raise UserError(f"{fate}: interrupted") from error


def _remove(client: MlflowClient, run: Run) -> str:
    """Remove a run with its model; return the words for an error that say so, or that even this failed."""
    name, number = run.info.run_name, run.info.run_id
    try:
        outputs = client.get_run(number).outputs
        for model in outputs.model_outputs if outputs else []:
            client.delete_logged_model(model.model_id)
        client.delete_run(number)
    except Exception:  # noqa: BLE001 (the error to report is the one that broke the run, not this one)
        return f"MLflow run {name} is left unfinished, and goes with the first recording after an hour"
    return f"MLflow run {name} was removed half-made"


def _write(client: MlflowClient, run: str, record: Record) -> None:
    """Fill a run. Final metrics are written before the model, which MLflow shows with the metrics that it finds."""
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    params = [Param(name, str(value)) for name, value in record.params.items()]
    metrics = [Metric(name, value, now, 0) for name, value in record.metrics.items()]
    for row in record.history:
        step = int(row["epoch"])
        metrics += [Metric(f"epoch/{name}", value, now, step) for name, value in row.items() if name != "epoch"]
    for start in range(0, max(len(params), len(metrics)), BATCH):
        client.log_batch(run, metrics[start : start + BATCH], params[start : start + BATCH])
    for plot in record.plots:
        client.log_artifact(run, str(plot), "plots")
    answered(client.tracking_uri, lambda: _log_model(run, record.model))
    if record.verdict:
        _log_verdict(client, run, record.verdict)


def _log_model(run: str, model: Example) -> None:
    import mlflow.onnx
    import onnx
    from mlflow.models import ModelSignature

    mlflow.onnx.log_model(
        onnx.load_from_string(model.content),  # a fresh copy: log_model alters it
        name=MODEL.stem,
        run_id=run,
        signature=ModelSignature(_schema(model.inputs), _schema(model.outputs)),
        input_example=dict(model.inputs),
        pip_requirements=[f"{package}=={version(package)}" for package in ("numpy", "onnx", "onnxruntime")],
        onnx_execution_providers=["CPUExecutionProvider"],  # the one that the gate judged the model on
        save_as_external_data=False,
    )


def _schema(arrays: Arrays) -> Schema:
    """Return the schema of named tensors; it does not depend on the number of rows."""
    from mlflow.types import Schema, TensorSpec

    kinds = {name: np.dtype(str) if array.dtype.kind in "OU" else array.dtype for name, array in arrays.items()}
    return Schema([TensorSpec(kinds[name], (-1, *array.shape[1:]), name) for name, array in arrays.items()])


def _add_verdict(client: MlflowClient, run: Run) -> str:
    """Add the verdict that the gate gave since the training was recorded; a verdict is never changed."""
    outcome = verdict(run.data.tags["lock"])
    if outcome is None or "verdict" in run.data.tags:
        return ""
    _log_verdict(client, run.info.run_id, outcome)
    return f", its verdict ({outcome}) now too"


def _log_verdict(client: MlflowClient, run: str, outcome: str) -> None:
    """Add the gate's verdict, as a file and as a tag to search by."""
    client.log_artifact(run, str(VERDICT))
    client.set_tag(run, "verdict", outcome)


def _place(uri: str, run: Run) -> str:
    """Return the run's name, and how to open it."""
    page = f"{shown(uri).rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    return f"run {run.info.run_name}, {page if uri.startswith('http') else '`make mlflow` opens it'}"
