"""The model: `train` gives an ONNX file that takes feature columns by name, `predict` asks any such file.

Whoever only predicts (gate, service) never imports torch.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
from numpy.typing import NDArray

from ..params import Params

CHUNK = 16_384  # rows scored at once, so that memory does not grow with the table
TYPES: dict[str, type[pl.DataType]] = {
    "tensor(string)": pl.String,
    "tensor(float)": pl.Float32,
    "tensor(double)": pl.Float64,
    "tensor(int64)": pl.Int64,
}


def train(
    table: pl.DataFrame,
    params: Params,
    *,
    device: str,
    precision: str,
    threads: int,
    progress: Callable[[Mapping[str, float]], None],
) -> bytes:
    """Fit on the labelled rows of `table` and give the ONNX; the same arguments give the same bytes on a CPU."""
    from .export import to_onnx
    from .fit import fit

    return to_onnx(*fit(table, params.train, device=device, precision=precision, threads=threads, progress=progress))


def predict(session: ort.InferenceSession, table: pl.DataFrame) -> NDArray[np.float32]:
    """Give the probability of the label for each row, shape (N,), by any ONNX that takes columns by name.

    Nulls reach it as "" or NaN. Raise `KeyError` naming a column that the table lacks.
    """
    for column in session.get_inputs():
        if column.name not in table.columns:
            raise KeyError(column.name)
    scores = [
        np.asarray(session.run(["score"], feeds(session, table.slice(start, CHUNK)))[0], dtype=np.float32).reshape(-1)
        for start in range(0, max(table.height, 1), CHUNK)
    ]
    return np.concatenate(scores)


def feeds(session: ort.InferenceSession, table: pl.DataFrame) -> dict[str, NDArray[Any]]:
    """Columns as the session takes them, each of shape (N, 1)."""
    return {column.name: values(table[column.name], TYPES[column.type])[:, None] for column in session.get_inputs()}


def values(series: pl.Series, dtype: type[pl.DataType]) -> NDArray[Any]:
    """One column as an array, shape (N,); what is right already is left alone, for that is most of a row's latency."""
    if series.dtype != dtype:
        series = series.cast(dtype)
    if dtype == pl.String and series.null_count():
        series = series.fill_null("")
    return series.to_numpy()  # where a float is null, NaN
