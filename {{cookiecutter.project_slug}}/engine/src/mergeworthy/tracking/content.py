"""What a run holds: parameters, figures, plots, the model that ships and the gate's verdict on it."""

import time
from collections.abc import Mapping
from importlib.metadata import version

import mlflow.onnx
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from ..paths import MODEL, VERDICT
from .record import Arrays, Record, Shipped
from .server import answered

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
