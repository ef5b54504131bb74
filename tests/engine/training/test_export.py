"""What ships is one ONNX file that takes raw columns by name, made by `to_onnx` of the sample's network."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import polars as pl
import pytest
import yaml

from mergeworthy import Compute
from mergeworthy.artifact import predict
from mergeworthy.project import registered

project = registered()
PARAMS = yaml.safe_load(Path("params.yaml").read_text())
SMALL = project.params.model_validate(PARAMS | {"train": PARAMS["train"] | {"epochs": 1, "width": 16}})


def train(table: pl.DataFrame, precision: str = "float32") -> bytes:
    return project.fit(project.dataset([table.lazy()]), SMALL, Compute(precision=precision))


@pytest.fixture(scope="module")
def rows(flights: dict[str, dict[str, pl.DataFrame]]) -> pl.DataFrame:
    tables = {name: table.lazy() for name, table in flights["2013-01"].items()}
    return project.build_features(tables, SMALL).filter(pl.col(project.target).is_not_null()).collect()


@pytest.fixture(scope="module")
def model(rows: pl.DataFrame) -> bytes:
    return train(rows)


def test_the_same_rows_give_the_same_bytes(rows: pl.DataFrame, model: bytes) -> None:
    assert train(rows) == model


def test_half_the_bits_train_the_same_model_within_noise(rows: pl.DataFrame, model: bytes) -> None:
    # given the precision that infra.yaml offers beside float32
    half = train(rows, "bfloat16")
    assert half != model
    label = rows[project.target].to_numpy().astype(bool)
    scores = [predict(ort.InferenceSession(made), rows) for made in (half, model)]
    auc, other = (project.all_metrics["auc"](label, score) for score in scores)
    assert auc == pytest.approx(other, abs=0.005)


def test_one_number_in_all_rows_and_no_rows_at_all_are_scored(rows: pl.DataFrame) -> None:
    # given a column without variance, too large to tell from its successor in float32
    flat = rows.head(500).with_columns(pl.lit(1e9).alias("seats"))
    session = ort.InferenceSession(train(flat))
    assert np.isfinite(predict(session, flat)).all()
    assert predict(session, flat.clear()).shape == (0,)


@pytest.mark.parametrize("kind", [pl.String, pl.Float32])
def test_inputs_may_all_be_of_one_kind(rows: pl.DataFrame, kind: pl.DataType) -> None:
    some = rows.head(2_000).select(pl.selectors.by_dtype(kind), project.target)
    session = ort.InferenceSession(train(some))
    assert len(np.unique(predict(session, some))) > 10


def test_a_missing_column_is_named(rows: pl.DataFrame, model: bytes) -> None:
    with pytest.raises(KeyError, match="origin"):
        predict(ort.InferenceSession(model), rows.drop("origin"))


def test_the_file_tells_nothing_of_where_it_was_made(model: bytes) -> None:
    assert str(Path.cwd()).encode() not in model
    assert b"site-packages" not in model


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
    table = pl.DataFrame([*plain, rows[project.target]]).head(500)
    usual, odd = train(table), train(table.rename(called))
    # then both answer the same
    session = ort.InferenceSession(odd)
    assert {column.name for column in session.get_inputs()} == set(called.values())
    expected = predict(ort.InferenceSession(usual), table)
    np.testing.assert_allclose(predict(session, table.rename(called)), expected, atol=1e-6)
