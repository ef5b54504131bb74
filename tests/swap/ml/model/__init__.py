"""Standardise, then a logistic regression; exported by hand, for it is one matrix product."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ..features import LABEL
from ..params import Params
from ..schema import MEASURES


def train(
    parts: Sequence[pl.LazyFrame],
    params: Params,
    *,
    progress: Callable[[Mapping[str, float]], None],
    **compute: object,
) -> bytes:
    """Fit on the labelled rows, in an instant: no device and no checkpoint is of use."""
    measured = pl.concat(parts).collect()
    scaler = StandardScaler().fit(measured.select(MEASURES).to_numpy())
    rows, label = scaler.transform(measured.select(MEASURES).to_numpy()), measured[LABEL].to_numpy()
    fitted = LogisticRegression(C=params.train.inverse_penalty, max_iter=1000).fit(rows, label)
    progress({"epoch": 1, "epochs": 1, "train_loss": float(1 - fitted.score(rows, label))})
    weight = fitted.coef_[0] / scaler.scale_
    bias = fitted.intercept_ - scaler.mean_ @ weight
    inputs = ", ".join(f"float[N,1] {name}" for name in MEASURES)
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["": 20]>
        linear ({inputs}) => (float[N,1] score)
        <float[30,1] weight = {{{", ".join(map(str, weight))}}}, float[1] bias = {{{bias[0]}}}> {{
            rows = Concat <axis = 1> ({", ".join(MEASURES)})
            logit = Gemm (rows, weight, bias)
            score = Sigmoid (logit)
        }}
    """)
    return bytes(model.SerializeToString())


def predict(session: ort.InferenceSession, table: pl.DataFrame) -> np.ndarray:
    """Probability of malignant for each row, shape (N,)."""
    return score(session, {name: table[name].to_numpy() for name in MEASURES})


def score(session: ort.InferenceSession, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The same of arrays of shape (N,), by name."""
    feeds = {name: columns[name].astype(np.float32)[:, None] for name in MEASURES}
    return np.asarray(session.run(["score"], feeds)[0])[:, 0]
