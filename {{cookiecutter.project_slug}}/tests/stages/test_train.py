"""One process or several: the same model, within what dropout changes; and one that dies ends them all."""

import os
import signal
from pathlib import Path

import polars as pl
import pytest
import yaml

from pipeline import holdout, ml
from pipeline.errors import UserError
from pipeline.stages import train, workers

PARAMS = yaml.safe_load(Path("params.yaml").read_text())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flights: dict[str, dict[str, pl.DataFrame]]) -> Path:
    """January's features, cut in two: to train on, and to measure on."""
    settings = PARAMS | {"train": PARAMS["train"] | {"epochs": 2, "width": 16, "batch_rows": 512}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    tables = {name: table.lazy() for name, table in flights["2013-01"].items()}
    rows = ml.build_features(tables, ml.Params.model_validate(PARAMS)).collect()
    monkeypatch.chdir(tmp_path)
    Path("features").mkdir()
    for name, part in (("2013-01", rows.head(20_000)), ("2013-02", rows.tail(6_000))):
        part.write_parquet(f"features/{name}.parquet")
    return tmp_path


def trained(processes: int) -> dict[str, float | None]:
    compute = {"device": "cpu", "threads": 1, "processes": processes}
    infra = {"source": {"kind": "flights"}, "tracking": {"uri": "x", "experiment": "x"}, "compute": compute}
    Path("infra.yaml").write_text(yaml.safe_dump(infra))
    train.main()
    newest = holdout.read()
    return holdout.figures(newest.label, ml.predict(holdout.session(train.MODEL.read_bytes()), newest.table))


def test_two_processes_train_the_same_model_within_noise(project: Path) -> None:
    one, two = trained(1), trained(2)
    assert pl.read_csv("reports/training.csv")["epoch"].to_list() == [1, 2]  # written once
    assert two["auc"] == pytest.approx(one["auc"], abs=0.01)
    assert two["log_loss"] == pytest.approx(one["log_loss"], abs=0.01)


def killed() -> None:
    """The second process dies in the middle, while the first one waits for it."""
    with workers.joined("cpu"):
        from torch import distributed

        if distributed.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        distributed.barrier()


def test_a_process_that_dies_ends_the_training_in_one_sentence() -> None:
    with pytest.raises(UserError, match=r"training process 1 of 2 ended by signal 9, all are stopped"):
        workers.launch(2, killed)
