"""The report of a backtest."""

import json
from pathlib import Path

import pytest
import yaml
from tests.engine.product import PRODUCT

from mergeworthy.errors import UserError
from mergeworthy.extras import backtest
from mergeworthy.extras.backtest import Month, Way, run
from mergeworthy.text import DASH


def month(partition: str, decision: str, **auc: float | None) -> Month:
    ways: list[Way] = ["never", "decided", "every"]
    figures = {way: {"auc": auc.get(way), "log_loss": 0.5} for way in ways}
    return Month(partition=partition, decision=decision, why="It moved.", figures=figures)


@pytest.fixture
def months(monkeypatch: pytest.MonkeyPatch) -> list[Month]:
    monkeypatch.chdir(PRODUCT)  # for gates.yaml
    first = month("2024-01", "merged, served", never=0.7, decided=0.7, every=0.7)
    second = month("2024-02", "quiet", never=0.6, decided=0.8, every=0.8)
    return [first, second, month("2024-03", "quiet")]  # on the last month AUC is not defined


def test_means_leave_out_the_first_month_and_undefined_metrics(months: list[Month]) -> None:
    sentence = backtest.summary(months)
    assert sentence.startswith(
        "1 retraining merged in 3 partitions; from 2024-02 on mean auc: 0.6000 never retrained, 0.8000"
    )
    assert "mean auc: 0.7000 never retrained" in backtest.summary(months[:1])
    assert f"mean auc: {DASH} never retrained" in backtest.summary(months[2:])


def test_a_table_plots_and_figures_are_written(months: list[Month], tmp_path: Path) -> None:
    backtest.write(tmp_path / "reports/replay", months)
    text = (tmp_path / "reports/replay.md").read_text()
    assert f"| `2024-03` | quiet | {DASH} | {DASH} | {DASH} | 0.5000 | 0.5000 | 0.5000 |" in text
    assert text.count("```mermaid") == 2
    assert "nan" not in text
    assert (tmp_path / "reports/replay.png").stat().st_size > 10_000
    assert [Month(**entry) for entry in json.loads((tmp_path / "reports/replay.json").read_text())] == months


def test_a_source_with_too_few_partitions_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    infra = {"source": {"kind": "flights"}, "tracking": {"uri": "sqlite:///mlflow.db", "experiment": "test"}}
    Path("infra.yaml").write_text(yaml.safe_dump(infra))
    with pytest.raises(UserError, match="a replay takes more than 3 partitions, there are 2: 2013-01, 2013-02"):
        run("2013-02", image=False)
