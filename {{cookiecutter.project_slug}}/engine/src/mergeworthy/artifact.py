"""The ONNX that ships: loaded the same way wherever it is judged or served, and given its own inputs alone."""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
from numpy.typing import NDArray

from . import files
from .errors import UserError
from .paths import MODEL
from .project import registered

CHUNK = 16_384  # rows scored at once, so that memory does not grow with the table
TYPES: dict[str, tuple[type[pl.DataType], type]] = {
    "tensor(string)": (pl.String, np.object_),
    "tensor(float)": (pl.Float32, np.float32),
    "tensor(double)": (pl.Float64, np.float64),
    "tensor(int64)": (pl.Int64, np.int64),
}
MEND = "run `make pipeline`"

# A folder that cannot exist: ONNX Runtime would read weights beside the current folder, which no digest covers.
NOWHERE = f"{os.devnull}/none"
OUTSIDE = "External data"  # how ONNX Runtime begins its complaint about such weights


def load(path: Path = MODEL) -> ort.InferenceSession:
    """Open the model file as `session` does; raise `UserError` if it is missing or no ONNX model in one file."""
    content = files.read_bytes(path, MEND)
    try:
        return session(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001 - onnxruntime raises a kind of its own for each cause
        cause = " ".join((str(error) or type(error).__name__).splitlines()[0].split())
        raise UserError(f"{path} is not an ONNX model that can be run ({cause}): {MEND}") from None


def session(model: bytes) -> ort.InferenceSession:
    """Load an ONNX model on one CPU thread; raise `UserError` if it keeps weights in a file beside it.

    The size limit, the digest in dvc.lock and the image are of the one file, so the file must be the whole model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # failures are raised, and reported in our own words
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NOWHERE)
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if OUTSIDE in str(error):
            raise UserError(
                "the model keeps weights in a file beside it (ONNX external data), which neither size limit nor digest "
                "covers: save it as one file (`onnx.save(model, path, save_as_external_data=False)`)"
            ) from None
        raise


def predict(session: ort.InferenceSession, table: pl.DataFrame) -> NDArray[np.float32]:
    """Return the probability of the label for each row, shape (N,); nulls reach the model as "" or NaN.

    Raise `KeyError` naming an input that the table lacks, and `UserError` if the model reads the label, if an input
    has a type that no column has, or if not every row gets one score.
    """
    wanted, target = inputs(session), registered().target
    if target in wanted:
        raise UserError(
            f"the model reads {target}, which is the label: nobody knows it when a prediction is asked for; "
            "leave it out of the model's inputs and train again"
        )
    if missing := [name for name in wanted if name not in table.columns]:
        raise KeyError(missing[0])
    chunks = [table.slice(start, CHUNK) for start in range(0, max(table.height, 1), CHUNK)]
    arrays = ({name: values(chunk[name], dtype) for name, (dtype, _) in wanted.items()} for chunk in chunks)
    scores = np.concatenate([score(session, columns) for columns in arrays])
    if scores.size != table.height:
        raise UserError(f"the model gives {scores.size:,} scores for {table.height:,} rows: it must give one for each")
    return scores


def score(session: ort.InferenceSession, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Score rows that are arrays of shape (N,) already, by name: strings as objects ("" if missing), or numbers.

    `predict` does this with each chunk of a table, and the service with a request. Other columns are left alone.
    """
    wanted = inputs(session).items()
    feeds: dict[str, NDArray[Any]] = {
        name: columns[name].astype(dtype, copy=False)[:, None] for name, (_, dtype) in wanted
    }
    return np.asarray(session.run([output(session)], feeds)[0], dtype=np.float32).reshape(-1)


@lru_cache(maxsize=8)
def output(session: ort.InferenceSession) -> str:
    """Return the name of the model's one output."""
    return str(session.get_outputs()[0].name)


@lru_cache(maxsize=8)
def inputs(session: ort.InferenceSession) -> dict[str, tuple[type[pl.DataType], type]]:
    """Return name and type of the model's inputs; cached, because asking costs as much as scoring a row."""
    columns = {column.name: column.type for column in session.get_inputs()}
    if odd := [name for name, kind in columns.items() if kind not in TYPES]:
        raise UserError(f"the model's input {odd[0]} is {columns[odd[0]]}: an input is a column of {', '.join(TYPES)}")
    return {name: TYPES[kind] for name, kind in columns.items()}


def values(series: pl.Series, dtype: type[pl.DataType]) -> NDArray[Any]:
    """Return a column as an array, shape (N,), without a copy if it can: this is most of a row's latency."""
    if series.dtype != dtype:
        series = series.cast(dtype)
    if dtype == pl.String and series.null_count():
        series = series.fill_null("")
    return series.to_numpy()  # a null float is NaN
