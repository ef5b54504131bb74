"""Standardise, then a logistic regression; exported by hand, for it is one matrix product."""

import onnx
from mergeworthy import Compute, Dataset
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from .params import Params


def train(data: Dataset, params: Params, compute: Compute) -> bytes:
    """Fit on the labelled rows, in an instant: no device and no checkpoint is of use."""
    measured, (_, names) = data.rows.collect(), data.inputs
    scaler = StandardScaler().fit(measured.select(names).to_numpy())
    rows, label = scaler.transform(measured.select(names).to_numpy()), measured[data.target].to_numpy()
    fitted = LogisticRegression(C=params.train.inverse_penalty, max_iter=1000).fit(rows, label)
    compute.progress({"epoch": 1, "epochs": 1, "train_loss": float(1 - fitted.score(rows, label))})
    weight = fitted.coef_[0] / scaler.scale_
    bias = fitted.intercept_ - scaler.mean_ @ weight
    inputs = ", ".join(f"float[N,1] {name}" for name in names)
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["": 20]>
        linear ({inputs}) => (float[N,1] score)
        <float[{len(names)},1] weight = {{{", ".join(map(str, weight))}}}, float[1] bias = {{{bias[0]}}}> {{
            rows = Concat <axis = 1> ({", ".join(names)})
            logit = Gemm (rows, weight, bias)
            score = Sigmoid (logit)
        }}
    """)
    return bytes(model.SerializeToString())
