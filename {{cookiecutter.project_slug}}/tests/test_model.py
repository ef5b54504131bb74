"""The network in PyTorch, and the ONNX file that is exported from it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import polars as pl
import pytest
import torch
from mergeworthy import Compute, Dataset
from mergeworthy.artifact import predict
from mergeworthy.tasks.binary import METRICS
from mergeworthy.training import Encoding, to_onnx
from ruamel.yaml import YAML

from ml import project
from ml.features import TARGET, build_features
from ml.model import Probability, fit
from ml.params import Params

PARAMS = Params.model_validate(YAML(typ="safe").load(Path("params.yaml")))
SMALL = PARAMS.model_copy(
    update={"train": PARAMS.train.model_copy(update={"epochs": 3, "width": 16, "batch_rows": 128})}
)


def dataset(rows: pl.DataFrame) -> Dataset:
    return project.dataset([rows.lazy()])


@pytest.fixture(scope="module")
def rows(flights: dict[str, dict[str, pl.DataFrame]]) -> pl.DataFrame:
    tables = {name: table.lazy() for name, table in flights["2013-01"].items()}
    return build_features(tables, PARAMS).filter(pl.col(TARGET).is_not_null()).head(5_000).collect()


@pytest.fixture(scope="module")
def fitted(rows: pl.DataFrame) -> tuple[Probability, Encoding]:
    network, encoding = fit(dataset(rows), SMALL.train, Compute())
    return Probability(network), encoding


@pytest.fixture(scope="module")
def session(fitted: tuple[Probability, Encoding]) -> ort.InferenceSession:
    return ort.InferenceSession(to_onnx(*fitted))


def test_the_onnx_file_predicts_as_the_network_does(
    rows: pl.DataFrame, fitted: tuple[Probability, Encoding], session: ort.InferenceSession
) -> None:
    network, encoding = fitted
    with torch.no_grad():
        expected = network(encoding.categories(rows), encoding.values(rows)).numpy()
    np.testing.assert_allclose(predict(session, rows), expected, atol=1e-5)
    np.testing.assert_allclose(predict(session, rows.head(1)), expected[:1], atol=1e-5)


def test_the_network_learns(rows: pl.DataFrame, session: ort.InferenceSession) -> None:
    predictions, targets = predict(session, rows).astype(np.float64), rows[TARGET].to_numpy().astype(bool)
    assert METRICS["auc"](targets, predictions) > 0.65


def test_unknown_values_are_scored(rows: pl.DataFrame, session: ort.InferenceSession) -> None:
    # given airlines that do not exist, no aircraft, and only missing numbers
    unknown = rows.head(3).with_columns(
        pl.lit("??").alias("carrier"),
        pl.lit(None, pl.String).alias("manufacturer"),
        pl.selectors.float() * float("nan"),
    )
    scores = predict(session, unknown)
    assert np.isfinite(scores).all()
    assert ((scores > 0) & (scores < 1)).all()


def test_prediction_needs_no_torch() -> None:
    code = "import sys, ml; sys.exit('torch' in sys.modules)"
    path = os.pathsep.join(sys.path)
    run = subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ, "PYTHONPATH": path})
    assert run.returncode == 0
