"""What the stage `evaluate` writes for a small model, and that it needs no training library."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from tests.engine.gate.project import GOOD, features, model

from mergeworthy.errors import UserError
from mergeworthy.project import registered
from mergeworthy.stages import evaluate


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with features of two months, a model and the figures of its training."""
    monkeypatch.chdir(tmp_path)
    for name in ("features", "models", "reports"):
        (tmp_path / name).mkdir()
    for month in ("2013-05", "2013-06"):
        table = features(month)
        unknown = table.head(5).with_columns(pl.lit(None, pl.Boolean).alias(registered().target))
        pl.concat([table, unknown]).write_parquet(tmp_path / f"features/{month}.parquet")
    (tmp_path / "models/model.onnx").write_bytes(model(**GOOD))
    (tmp_path / "reports/training.csv").write_text("epoch,epochs,train_loss\n1,2,0.6\n2,2,0.5\n")
    return tmp_path


def test_writes_metrics_of_model_and_baseline_on_the_newest_month(folder: Path) -> None:
    # when
    evaluate.main()
    # then
    metrics = json.loads((folder / "reports/metrics.json").read_text())
    assert (metrics["partition"], metrics["rows"]) == ("2013-06", 6000)
    assert metrics["model"].keys() == metrics["baseline"].keys() == registered().all_metrics.keys()
    assert metrics["model"]["auc"] > 0.7
    assert metrics["baseline"]["auc"] == 0.5
    assert metrics["baseline"]["calibration_slope"] is None
    # and the predictions hold every labelled row
    predictions = pl.read_parquet(folder / "reports/predictions.parquet")
    assert predictions.height == 6000
    assert {registered().target, "score"} < set(predictions.columns)


def test_the_same_model_gives_the_same_bytes(folder: Path) -> None:
    def written() -> dict[str, bytes]:
        evaluate.main()
        return {path.name: path.read_bytes() for path in sorted((folder / "reports").rglob("*.*"))}

    first = written()
    assert {"roc.png", "calibration.png", "scores.png", "training.png"} < first.keys()
    assert first == written()


def test_a_model_without_epochs_has_no_training_curve(folder: Path) -> None:
    (folder / "reports/training.csv").write_text("\n")
    evaluate.main()
    assert not (folder / "reports/plots/training.png").exists()


def test_a_missing_holdout_is_named(folder: Path) -> None:
    (folder / "features/2013-06.parquet").unlink()
    with pytest.raises(UserError, match="a holdout needs two"):
        evaluate.main()


def test_needs_no_training_library() -> None:
    code = "import sys, mergeworthy.stages.evaluate; sys.exit(bool({'torch', 'dvc', 'mlflow'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
