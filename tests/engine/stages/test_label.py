"""A label that is no target of the task is refused by every stage that reads it, in one line; it is never cast."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from tests.attempts import refusal, works
from tests.engine.gate.project import model

from mergeworthy import holdout
from mergeworthy.errors import UserError
from mergeworthy.files import FEATURES, METRICS, MODEL
from mergeworthy.partitions import Partition
from mergeworthy.project import registered
from mergeworthy.stages import evaluate, features, reference, train

GATES = Path("gates.yaml").read_text()
PARAMS = registered().params.model_validate(yaml.safe_load(Path("params.yaml").read_text()))
REFUSED = {
    "minutes": pl.Series([-5, 144, None, 0]),
    "fractions": pl.Series([0.0, 0.5, None, 1.0]),
    "NaN": pl.Series([0.0, float("nan"), None, 1.0]),
    "words": pl.Series(["yes", "no", None, "yes"]),
    "dates": pl.Series([datetime(2013, 1, 1)] * 4),
    "nothing but nulls, of no type": pl.Series([None] * 4, dtype=pl.Null),
}
ACCEPTED = {
    "booleans": pl.Series([False, True, None, True]),
    "integers": pl.Series([0, 1, None, 1], dtype=pl.Int8),
    "floats": pl.Series([0.0, 1.0, None, 1.0], dtype=pl.Float32),
}


def table(values: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"signal": [0.5] * 4, registered().target: values})


@pytest.mark.attempts("label")
@pytest.mark.parametrize("kind", ACCEPTED)
def test_a_binary_label_may_be_boolean_or_zero_and_one(kind: str) -> None:
    rows = table(ACCEPTED[kind]).drop_nulls()
    holdout.check_label(table(ACCEPTED[kind]).lazy(), "here")
    np.testing.assert_array_equal(holdout.labels(rows, "here"), [False, True, True])
    works()


@pytest.mark.attempts("label")
@pytest.mark.parametrize("kind", REFUSED)
def test_anything_else_is_refused_with_file_type_and_value(kind: str) -> None:
    with refusal(rf"^features/2013-05.parquet: the label {registered().target} has type "):
        holdout.check_label(table(REFUSED[kind]).lazy(), Path("features/2013-05.parquet"))
    with pytest.raises(UserError):
        holdout.labels(table(REFUSED[kind]), "here")


@pytest.mark.attempts("label")
def test_a_table_without_a_label_is_refused() -> None:
    with refusal(f"no label column {registered().target}"):
        holdout.check_label(pl.LazyFrame({"signal": [0.5]}), "here")


@pytest.mark.parametrize("broken", ["2013-05", "2013-06"])
@pytest.mark.parametrize("stage", [train.training_files, holdout.read, evaluate.main, reference.main])
def test_a_stage_refuses_such_a_label_and_writes_nothing(
    stage: Callable[[], object], broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given feature files of two months, in one of which the label counts minutes
    monkeypatch.chdir(tmp_path)
    FEATURES.mkdir()
    for month in ("2013-05", "2013-06"):
        kind = REFUSED["minutes"] if month == broken else ACCEPTED["booleans"]
        table(kind).write_parquet(FEATURES / f"{month}.parquet")
    MODEL.parent.mkdir()
    MODEL.write_bytes(model(signal=1.0))
    Path("gates.yaml").write_text(GATES)
    if stage is train.training_files and broken == "2013-06":
        assert len(train.training_files()) == 1  # it does not read the holdout
        return
    # then
    with pytest.raises(UserError, match=f"features/{broken}.parquet: the label {registered().target} has type "):
        stage()
    assert not METRICS.exists()


def test_the_cache_keeps_no_features_with_such_a_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/2013-05").mkdir(parents=True)
    rows = pl.LazyFrame({"sched_dep": [datetime(2013, 5, 1)] * 4, registered().target: REFUSED["minutes"]})
    rows.collect().write_parquet("data/2013-05/flights.parquet")
    features.CACHE.mkdir(parents=True)
    monkeypatch.setattr(features, "build", lambda *_: rows)
    with pytest.raises(UserError, match="features of 2013-05: the label late has type"):
        features.build_once(Partition("2013-05"), None, PARAMS)
    assert not list(features.CACHE.glob("*.parquet"))
