"""The model: `train` gives an ONNX file that takes feature columns by name, `predict` asks any such file.

Whoever only predicts (gate, service) never imports torch.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
from numpy.typing import NDArray

from ..params import Params
from .checkpoint import Checkpoint

CHUNK = 16_384  # rows scored at once, so that memory does not grow with the table
TYPES: dict[str, tuple[type[pl.DataType], type]] = {
    "tensor(string)": (pl.String, np.object_),
    "tensor(float)": (pl.Float32, np.float32),
    "tensor(double)": (pl.Float64, np.float64),
    "tensor(int64)": (pl.Int64, np.int64),
}


def train(
    parts: Sequence[pl.LazyFrame],
    params: Params,
    *,
    device: str = "cpu",
    precision: str = "float32",
    threads: int = 2,
    checkpoint: Checkpoint | None = None,
    progress: Callable[[Mapping[str, float]], None] = lambda _: None,
) -> bytes:
    """Fit on the labelled rows of all `parts` and give the ONNX; the same arguments give the same bytes on a CPU.

    Several parts, each a random sample of all rows, are read one after the other in each epoch: they need not fit the
    memory together. `progress` is told each epoch's figures, and `checkpoint` keeps where the training stands.
    """
    from .export import to_onnx
    from .fit import fit

    return to_onnx(
        *fit(
            parts,
            params.train,
            device=device,
            precision=precision,
            threads=threads,
            checkpoint=checkpoint,
            progress=progress,
        )
    )


def predict(session: ort.InferenceSession, table: pl.DataFrame) -> NDArray[np.float32]:
    """Give the probability of the label for each row, shape (N,), by any ONNX that takes columns by name.

    Nulls reach it as "" or NaN. Raise `KeyError` naming a column that the table lacks.
    """
    wanted = inputs(session)
    if missing := [name for name in wanted if name not in table.columns]:
        raise KeyError(missing[0])
    chunks = [table.slice(start, CHUNK) for start in range(0, max(table.height, 1), CHUNK)]
    arrays = ({name: values(chunk[name], dtype) for name, (dtype, _) in wanted.items()} for chunk in chunks)
    return np.concatenate([score(session, columns) for columns in arrays])


def score(session: ort.InferenceSession, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Score rows that are arrays of shape (N,) already, by name: strings as objects ("" if missing), or numbers.

    What `predict` does with each chunk of a table, and the service with a request. Other columns are left alone.
    """
    wanted = inputs(session).items()
    feeds: dict[str, NDArray[Any]] = {
        name: columns[name].astype(dtype, copy=False)[:, None] for name, (_, dtype) in wanted
    }
    return np.asarray(session.run([output(session)], feeds)[0], dtype=np.float32).reshape(-1)


@lru_cache(maxsize=8)
def output(session: ort.InferenceSession) -> str:
    """Return the name of what the model answers: its one output."""
    return str(session.get_outputs()[0].name)


@lru_cache(maxsize=8)
def inputs(session: ort.InferenceSession) -> dict[str, tuple[type[pl.DataType], type]]:
    """Name and type of what the model takes; asked once, for it costs as much as scoring a row."""
    return {column.name: TYPES[column.type] for column in session.get_inputs()}


def values(series: pl.Series, dtype: type[pl.DataType]) -> NDArray[Any]:
    """One column as an array, shape (N,); what is right already is left alone, for that is most of a row's latency."""
    if series.dtype != dtype:
        series = series.cast(dtype)
    if dtype == pl.String and series.null_count():
        series = series.fill_null("")
    return series.to_numpy()  # where a float is null, NaN
