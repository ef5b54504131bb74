"""A sweep resumes where it was stopped, offers the best trial, and never reads the holdout."""

from collections.abc import Callable
from pathlib import Path

import mlflow
import polars as pl
import pytest
import yaml

from mergeworthy.errors import UserError
from mergeworthy.extras import sweep
from mergeworthy.stages import features
from ml.params import Params
from ml.schema import TABLES

MONTHS = ("2013-01", "2013-02", "2013-03")
SWEEP = {
    "metric": "log_loss",
    "trials": 2,
    "search": {"train.learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "train.width": {"low": 4, "high": 16}},
}


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flights: dict[str, dict[str, pl.DataFrame]]
) -> Callable[..., None]:
    """Make a small project on three months; return a function that writes settings into sweep.yaml."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["train"] |= {"epochs": 1, "width": 8, "batch_rows": 128}
    (tmp_path / "params.yaml").write_text("# why\n" + yaml.safe_dump(params, sort_keys=False))
    infra = {"source": {"kind": "flights"}, "tracking": {"uri": f"sqlite:///{tmp_path}/mlflow.db", "experiment": "e"}}
    (tmp_path / "infra.yaml").write_text(yaml.safe_dump(infra))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    for month in MONTHS:
        (tmp_path / "data" / month).mkdir(parents=True)
        for name in TABLES:
            flights[month][name].head(1_500).write_parquet(tmp_path / "data" / month / f"{name}.parquet")
    features.main()

    def change(**settings: object) -> None:
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(SWEEP | settings))

    change()
    return change


def runs() -> list[mlflow.entities.Run]:
    recorded = mlflow.search_runs(experiment_names=["e-sweeps"], output_format="list")
    assert isinstance(recorded, list)
    return recorded


def test_it_resumes_where_it_was_stopped_and_offers_the_best(
    project: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a sweep that is stopped in its second trial
    fit, fitted = sweep.fit, []

    def stopped(params: dict[str, dict[str, object]], data: sweep.Split) -> tuple[dict[str, float], float]:
        fitted.append(params["train"])
        if len(fitted) == 2:
            raise KeyboardInterrupt
        return fit(params, data)

    monkeypatch.setattr(sweep, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        sweep.run(apply=False)
    assert fitted[0]["width"] == 8  # the first trial is what params.yaml holds
    # when it is run again, with one more trial
    project(trials=3)
    sweep.run(apply=True)
    # then the stopped trial is repeated, and no other
    assert fitted[2] == fitted[1]
    assert len(fitted) == 4
    assert len(runs()) == 3
    # and params.yaml holds the best, which is no worse than it was, with its comment
    best = min(runs(), key=lambda run: run.data.metrics["log_loss"])
    text = Path("params.yaml").read_text()
    assert text.startswith("# why\n")
    assert Params.model_validate(yaml.safe_load(text)).train.width == int(best.data.params["train.width"])
    assert "params.yaml is changed" in capsys.readouterr().out
    # and a sweep that is complete runs no trial
    sweep.run(apply=False)
    assert len(fitted) == 4


def test_the_holdout_is_never_read(project: Callable[..., None]) -> None:
    Path("features/2013-03.parquet").write_bytes(b"not to be read")
    sweep.run(apply=False)
    assert len(runs()) == 2


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"train.width": {"low": 0, "high": 8}}, r"search\.train\.width: params\.yaml cannot hold 0 there"),
        ({"train.depth": {"choices": [1, 2]}}, r"search\.train\.depth: params\.yaml has no such key"),
        ({"features.history_days": {"low": 1, "high": 8}}, "a sweep only trains"),
        ({"train.dropout": {"low": 0.4, "high": 0.1}}, "low must be below high"),
        ({}, "at least 1 item"),
    ],
)
def test_a_mistake_in_the_search_is_refused_before_anything_trains(
    project: Callable[..., None], search: dict[str, object], message: str
) -> None:
    project(search=search)
    with pytest.raises(UserError, match=message):
        sweep.run(apply=False)
    assert not sweep.STUDIES.exists()
