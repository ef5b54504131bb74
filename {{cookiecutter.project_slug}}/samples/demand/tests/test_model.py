"""The network in PyTorch, and the ONNX file that is exported from it."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import polars as pl
import pytest
import torch
from mergeworthy import Compute, Dataset
from mergeworthy.artifact import predict
from mergeworthy.training import Encoding, to_onnx
from ruamel.yaml import YAML

from ml import project
from ml.features import NOT_INPUTS, TARGET, build_features
from ml.model import Network, fit
from ml.params import Params

PARAMS = Params.model_validate(YAML(typ="safe").load(Path("params.yaml")))
SMALL = PARAMS.train.model_copy(update={"epochs": 4, "width": 32, "batch_rows": 256})


@pytest.fixture(scope="module")
def rows(months: dict[str, pl.DataFrame]) -> pl.DataFrame:
    counts = pl.concat([months["2023-11"], months["2023-12"]]).lazy()
    return build_features({"counts": counts}, PARAMS).filter(pl.col("usual").is_not_null()).collect()


@pytest.fixture(scope="module")
def fitted(rows: pl.DataFrame) -> tuple[Network, Encoding]:
    data = project.dataset([rows.head(20_000).lazy()])
    assert isinstance(data, Dataset)
    return fit(data, SMALL, Compute())


@pytest.fixture(scope="module")
def session(fitted: tuple[Network, Encoding]) -> ort.InferenceSession:
    return ort.InferenceSession(to_onnx(*fitted))


def test_the_onnx_file_predicts_as_the_network_does(
    rows: pl.DataFrame, fitted: tuple[Network, Encoding], session: ort.InferenceSession
) -> None:
    network, encoding = fitted
    few = rows.head(300)
    with torch.no_grad():
        expected = network(encoding.categories(few), encoding.values(few)).numpy()
    np.testing.assert_allclose(predict(session, few), expected, rtol=1e-4)
    np.testing.assert_allclose(predict(session, few.head(1)), expected[:1], rtol=1e-4)


def test_the_network_learns_more_than_the_same_hour_of_last_week(
    rows: pl.DataFrame, session: ort.InferenceSession
) -> None:
    later = rows.tail(rows.height - 20_000).filter(pl.col("time").dt.day() < 20).drop_nulls([TARGET, "ago_7"])
    target, mae = later[TARGET].to_numpy(), project.all_metrics["mae"]
    assert mae(target, predict(session, later).astype(np.float64)) < mae(target, later["ago_7"].to_numpy())


def test_quantiles_never_cross(rows: pl.DataFrame, session: ort.InferenceSession) -> None:
    # given inputs of any size, and of none
    noise = np.random.default_rng(0)
    factor = pl.Series(noise.lognormal(0, 4, rows.height)).cast(pl.Float32)
    odd = rows.with_columns(pl.selectors.float().exclude(TARGET) * factor)
    unknown = rows.head(3).with_columns(pl.selectors.float() * float("nan"), place=pl.lit("??"))
    for table in (odd, unknown):
        score = predict(session, table).astype(np.float64)
        assert not project.task.invalid(score).any()
        assert (score[:, 1] <= score[:, 0] * (1 + 1e-6)).all()
        assert (score[:, 0] <= score[:, 2] * (1 + 1e-6)).all()
    assert set(NOT_INPUTS) <= set(rows.columns)
