"""What ships is one ONNX file that takes raw columns."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import polars as pl
import pytest
import torch
import yaml

from mergeworthy import ml
from ml.model.encoding import quantiles
from ml.model.export import to_onnx
from ml.model.fit import fit

PARAMS = ml.Params.model_validate(yaml.safe_load(Path("params.yaml").read_text()))
SMALL = PARAMS.model_copy(update={"train": PARAMS.train.model_copy(update={"epochs": 1, "width": 16})})


def train(table: pl.DataFrame) -> bytes:
    return ml.train([table.lazy()], SMALL)


@pytest.fixture(scope="module")
def rows(flights: dict[str, dict[str, pl.DataFrame]]) -> pl.DataFrame:
    tables = {name: table.lazy() for name, table in flights["2013-01"].items()}
    return ml.build_features(tables, PARAMS).filter(pl.col(ml.LABEL).is_not_null()).collect()


@pytest.fixture(scope="module")
def model(rows: pl.DataFrame) -> bytes:
    return train(rows)


def test_the_same_rows_give_the_same_bytes(rows: pl.DataFrame, model: bytes) -> None:
    assert train(rows) == model


def test_half_the_bits_train_the_same_model_within_noise(rows: pl.DataFrame, model: bytes) -> None:
    # given the precision that infra.yaml offers beside float32
    half = ml.train([rows.lazy()], SMALL, precision="bfloat16")
    assert half != model
    label = rows[ml.LABEL].to_numpy().astype(bool)
    auc, other = (ml.METRICS["auc"](label, ml.predict(ort.InferenceSession(made), rows)) for made in (half, model))
    assert auc == pytest.approx(other, abs=0.005)


def test_the_file_scores_as_the_network_does(rows: pl.DataFrame) -> None:
    network, encoding = fit([rows.lazy()], SMALL.train)
    with torch.no_grad():
        expected = torch.sigmoid(network(encoding.categories(rows), encoding.values(rows))).numpy()
    session = ort.InferenceSession(to_onnx(network, encoding))
    np.testing.assert_allclose(ml.predict(session, rows), expected, atol=1e-5)
    np.testing.assert_allclose(ml.predict(session, rows.head(1)), expected[:1], atol=1e-5)


def test_what_was_never_seen_is_scored(rows: pl.DataFrame, model: bytes) -> None:
    # given airlines that do not exist, no aircraft, and no number known
    session = ort.InferenceSession(model)
    strange = rows.head(3).with_columns(
        pl.lit("??").alias("carrier"),
        pl.lit(None, pl.String).alias("manufacturer"),
        pl.selectors.float() * float("nan"),
    )
    scores = ml.predict(session, strange)
    assert np.isfinite(scores).all()
    assert ((scores > 0) & (scores < 1)).all()


def test_one_number_in_all_rows_and_no_rows_at_all_are_scored(rows: pl.DataFrame) -> None:
    # given a column without variance, too large to tell from its successor in float32
    flat = rows.head(500).with_columns(pl.lit(1e9).alias("seats"))
    session = ort.InferenceSession(train(flat))
    assert np.isfinite(ml.predict(session, flat)).all()
    assert ml.predict(session, flat.clear()).shape == (0,)


@pytest.mark.parametrize("kind", [pl.String, pl.Float32])
def test_inputs_may_all_be_of_one_kind(rows: pl.DataFrame, kind: pl.DataType) -> None:
    some = rows.head(2_000).select(pl.selectors.by_dtype(kind), ml.LABEL)
    session = ort.InferenceSession(train(some))
    assert len(np.unique(ml.predict(session, some))) > 10


def test_a_missing_column_is_named(rows: pl.DataFrame, model: bytes) -> None:
    with pytest.raises(KeyError, match="origin"):
        ml.predict(ort.InferenceSession(model), rows.drop("origin"))


def test_the_file_tells_nothing_of_where_it_was_made(model: bytes) -> None:
    assert str(Path.cwd()).encode() not in model
    assert b"site-packages" not in model


def test_whoever_only_predicts_needs_no_torch() -> None:
    code = "import sys, ml; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("values", [[], [3.0], [0.0] * 99 + [1.0], list(range(100)), [1.0, float("nan"), 2.0]])
def test_edges_always_increase(values: list[float]) -> None:
    edges = quantiles(np.array(values), 8)
    assert len(edges) == 9
    assert (np.diff(edges) > 0).all()


CATEGORIES = ["score", "categories", "carrier", "carrier_place", "graph_", "graph_place_carrier", "rows"]
NUMBERS = ["cat", "numbers", "relu", "where", "select", "linear", "val_0", "nothing", "none", "a b", "é", "network"]


@pytest.mark.parametrize("taken", [(CATEGORIES, NUMBERS), (CATEGORIES, []), ([], [*NUMBERS, "score", "categories"])])
def test_a_column_may_be_called_like_an_edge_of_the_graph(
    rows: pl.DataFrame, taken: tuple[list[str], list[str]]
) -> None:
    # given the names that the graph itself has, and the same columns under plain names
    texts, numbers = taken
    plain = [rows["carrier"].alias(f"t{place}") for place in range(len(texts))]
    plain += [(rows["distance"] * place).alias(f"x{place}") for place in range(len(numbers))]
    called = dict(zip([column.name for column in plain], [*texts, *numbers], strict=True))
    table = pl.DataFrame([*plain, rows[ml.LABEL], rows[ml.TIME]]).head(500)
    usual, odd = train(table), train(table.rename(called))
    # then both answer the same
    session = ort.InferenceSession(odd)
    assert {column.name for column in session.get_inputs()} == set(called.values())
    expected = ml.predict(ort.InferenceSession(usual), table)
    np.testing.assert_allclose(ml.predict(session, table.rename(called)), expected, atol=1e-6)
