"""The ONNX that ships: stages, gate and service load it and predict with it in the same way, by this module."""

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
from numpy.typing import NDArray

from . import files
from .errors import UserError
from .files import MODEL
from .project import registered

CHUNK_ROWS = 16_384  # rows scored at once, so that memory does not grow with the table
INPUT_TYPES: dict[str, tuple[type[pl.DataType], type]] = {
    "tensor(string)": (pl.String, np.object_),
    "tensor(float)": (pl.Float32, np.float32),
    "tensor(double)": (pl.Float64, np.float64),
    "tensor(int64)": (pl.Int64, np.int64),
}
HOW_TO_FIX = "run `make pipeline`"

# A folder that cannot exist: else ONNX Runtime would read external weights, which no digest covers.
EXTERNAL_DATA_FOLDER = f"{os.devnull}/none"
EXTERNAL_DATA_ERROR = "External data"  # part of ONNX Runtime's message about such weights


def load(path: Path = MODEL) -> ort.InferenceSession:
    """Load the model file as `session` does; raise `UserError` if it is missing or not an ONNX model in one file."""
    content = files.read_bytes(path, HOW_TO_FIX)
    try:
        return session(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001 - onnxruntime raises another class for each cause
        cause = " ".join((str(error) or type(error).__name__).splitlines()[0].split())
        raise UserError(f"{path} is not an ONNX model that can be run ({cause}): {HOW_TO_FIX}") from None


def session(model: bytes) -> ort.InferenceSession:
    """Load an ONNX model on one CPU thread; raise `UserError` if it keeps weights in a file beside it.

    The size limit, the digest in dvc.lock and the image cover one file, so that file must be the whole model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # no log lines: failures are raised
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", EXTERNAL_DATA_FOLDER)
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if EXTERNAL_DATA_ERROR in str(error):
            raise UserError(
                "the model keeps weights in a file beside it (ONNX external data), which neither size limit nor digest "
                "covers: save it as one file (`onnx.save(model, path, save_as_external_data=False)`)"
            ) from None
        raise


def predict(session: ort.InferenceSession, table: pl.DataFrame) -> NDArray[np.float32]:
    """Return the scores of all rows, shape (N,) or (N, width); nulls reach the model as "" or NaN.

    Raise `KeyError` naming an input that the table lacks, and `UserError` if the model reads the label, if an input
    has a type that no column has, or if a row gets more or fewer numbers than the task expects.
    """
    model_inputs, target = inputs(session), registered().target
    if target in model_inputs:
        raise UserError(
            f"the model reads {target}, which is the label: nobody knows it when a prediction is asked for; "
            "leave it out of the model's inputs and train again"
        )
    if missing := [name for name in model_inputs if name not in table.columns]:
        raise KeyError(missing[0])
    chunks = [table.slice(start, CHUNK_ROWS) for start in range(0, max(table.height, 1), CHUNK_ROWS)]
    arrays = ({name: values(chunk[name], dtype) for name, (dtype, _) in model_inputs.items()} for chunk in chunks)
    return np.concatenate(
        [score(session, columns, chunk.height) for columns, chunk in zip(arrays, chunks, strict=True)]
    )


def score(session: ort.InferenceSession, columns: Mapping[str, NDArray[Any]], rows: int) -> NDArray[np.float32]:
    """Return the scores of N `rows` from arrays of shape (N,) by name: objects (strings) or numbers.

    The result has the shape (N,), or (N, width) if the task predicts several numbers. A missing string is "". Columns
    that are no inputs are ignored. `predict` calls this with each chunk of a table, the service with a request.
    """
    run, names, kinds = _runner(session)
    feeds = {}
    for name, kind in kinds.items():
        values = columns[name]
        feeds[name] = (values if values.dtype is kind else values.astype(kind))[:, None]
    scores, width = np.asarray(run(names, feeds, None)[0], dtype=np.float32), registered().task.width
    if scores.size != rows * width:
        raise UserError(
            f"the model gives {scores.size:,} numbers for {rows:,} rows: {type(registered().task).__name__} expects "
            f"{width} for each"
        )
    return scores.reshape(-1) if width == 1 else scores.reshape(rows, width)


@lru_cache(maxsize=8)
def _runner(session: ort.InferenceSession) -> tuple[Callable[..., Any], list[str], dict[str, np.dtype[Any]]]:
    """Return the call that runs the model, the names of its outputs, and the type of each input by name.

    The call is the one within `InferenceSession.run`, which first compares the names of all inputs with each other: for
    50 inputs that takes as long as the model.
    """
    return session._sess.run, [output(session)], {name: np.dtype(kind) for name, (_, kind) in inputs(session).items()}


@lru_cache(maxsize=8)
def output(session: ort.InferenceSession) -> str:
    """Return the name of the model's one output."""
    return str(session.get_outputs()[0].name)


@lru_cache(maxsize=8)
def inputs(session: ort.InferenceSession) -> dict[str, tuple[type[pl.DataType], type]]:
    """Return the polars and the numpy type of each input by name; cached, as reading them takes as long as a row."""
    columns = {column.name: column.type for column in session.get_inputs()}
    if wrong := [name for name, kind in columns.items() if kind not in INPUT_TYPES]:
        raise UserError(
            f"the model's input {wrong[0]} is {columns[wrong[0]]}: an input is a column of {', '.join(INPUT_TYPES)}"
        )
    return {name: INPUT_TYPES[kind] for name, kind in columns.items()}


def values(series: pl.Series, dtype: type[pl.DataType]) -> NDArray[Any]:
    """Return a column as an array, shape (N,), without a copy if possible: this takes most of a row's latency."""
    if series.dtype != dtype:
        series = series.cast(dtype)
    if dtype == pl.String and series.null_count():
        series = series.fill_null("")
    return series.to_numpy()  # a null float is NaN
