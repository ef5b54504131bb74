"""The model: `train` gives an ONNX file that takes feature columns by name, `predict` asks any such file.

Whoever only predicts (gate, service) never imports torch.
"""

from collections.abc import Callable, Mapping

import numpy as np
import onnxruntime as ort
import polars as pl
from numpy.typing import NDArray

from ..params import Params


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
    """Give the probability of the label for each row, shape (N,); raise `KeyError` naming a column that is missing."""
    feeds = {}
    for column in session.get_inputs():
        if column.name not in table.columns:
            raise KeyError(column.name)
        if column.type == "tensor(string)":
            values = table[column.name].fill_null("").to_numpy().astype(object)
        else:
            values = table[column.name].cast(pl.Float32).fill_null(float("nan")).to_numpy()
        feeds[column.name] = values[:, None]
    return np.asarray(session.run(["score"], feeds)[0], dtype=np.float32).reshape(-1)
