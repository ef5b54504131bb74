"""The ONNX that ships: loaded the same way wherever it is judged or served, and given its own inputs alone."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
from numpy.typing import NDArray

from . import files, ml
from .errors import UserError
from .paths import MODEL

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
    """Return the probability of the label for each row, shape (N,), by `ml.predict` on the model's inputs alone.

    Neither the label nor any other column that the model does not read reaches `ml.predict`. Raises `KeyError` naming
    an input that the table lacks, and `UserError` if the model reads the label or not every row gets one score.
    """
    names = [column.name for column in session.get_inputs()]
    if ml.LABEL in names:
        raise UserError(
            f"the model reads {ml.LABEL}, which is the label: nobody knows it when a prediction is asked for; "
            "leave it out of the model's inputs and train again"
        )
    if missing := [name for name in names if name not in table.columns]:
        raise KeyError(missing[0])
    score: NDArray[Any] = np.asarray(ml.predict(session, table.select(names)))
    if score.size != table.height:
        raise UserError(f"ml.predict gives {score.size:,} scores for {table.height:,} rows: it must give one for each")
    return score.reshape(-1)
