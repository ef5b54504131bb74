"""`make drift` on real months that are delivered as files."""

import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml
from tests.engine.data.delivered import deliver
from tests.engine.product import PRODUCT
from tests.engine.trained import onnx_bytes

from mergeworthy.adapters.actions import Event
from mergeworthy.drift.check import decision_markdown, run
from mergeworthy.drift.decision import Column, Decision, Rule
from mergeworthy.errors import UserError
from mergeworthy.stages import features, reference

Months = dict[str, dict[str, pl.DataFrame]]


@pytest.fixture(scope="module")
def champion(flights: Months, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a champion that was trained on January to March; April is delivered."""
    folder = tmp_path_factory.mktemp("champion")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_champion(flights)
    return folder


@pytest.fixture
def project(champion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the champion's folder."""
    shutil.copytree(champion, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train_champion(flights: Months) -> None:
    for name in ("params.yaml", "gates.yaml"):
        shutil.copy(PRODUCT / name, ".")
    source = {"kind": "files", "url": "source/{partition}/{table}.parquet"}
    tracking = {"uri": "sqlite:///mlflow.db", "experiment": "test"}
    infra = {"source": source, "tracking": tracking, "image": {"repository": "localhost/test"}}
    Path("infra.yaml").write_text(yaml.safe_dump(infra))
    for month in ("2013-01", "2013-02", "2013-03"):
        deliver(Path("data") / month, flights[month])
    deliver(Path("source/2013-04"), flights["2013-04"])
    Path("models").mkdir()
    Path("models/model.onnx").write_bytes(onnx_bytes())
    features.main()
    reference.main()


def test_a_month_is_compared_and_reported(project: Path) -> None:
    before = sorted(path for path in Path("data").rglob("*"))
    decision = run()
    # then the decision has its evidence, and a second check gives the same
    assert decision.partitions == ["2013-04"]
    assert [(window.first, window.last) for window in decision.windows] == [
        ("2013-04-17", "2013-04-23"),
        ("2013-04-24", "2013-04-30"),
    ]
    assert {"auc", "log_loss", "age", "carrier", "distance", "(score)"} == {rule.name for rule in decision.rules}
    assert decision.recent
    text = Path("reports/drift.json").read_text()
    assert Decision.model_validate_json(text) == decision
    run()
    assert Path("reports/drift.json").read_text() == text
    # and there is a report for people that needs no network; nothing but reports/ was written
    report = Path("reports/drift.md").read_text()
    assert report.startswith(f"## ✅ The champion stays\n\n{decision.sentence}\n\n**New data**: `2013-04`; in windows ")
    assert report.index("### Labelled performance") < report.index("### What moved most")
    assert report.count("```mermaid") == 4
    html = Path("reports/drift.html").read_text()
    assert "distance" in html
    assert "<script src=" not in html
    assert sorted(path for path in Path("data").rglob("*")) == before


def test_broken_data_is_no_drift(project: Path, flights: Months) -> None:
    shutil.rmtree("source/2013-04")
    broken = flights["2013-04"]["flights"].with_columns(pl.col("distance") * 2)
    deliver(Path("source/2013-04"), flights["2013-04"] | {"flights": broken})
    decision = run()
    assert decision.outcome == "broken"
    assert "2013-04/flights: column distance must" in decision.sentence
    report = Path("reports/drift.md").read_text()
    assert report.startswith("## ⛔ The data is broken\n\n- ⛔ 2013-04/flights: column distance must")
    assert "**Next**: Correct the partition at its source or, if the data is right, the contract in `src/ml/" in report


def test_a_source_that_cannot_be_read_is_an_error(project: Path) -> None:
    Path("source/2013-04/weather.parquet").unlink()
    with pytest.raises(UserError, match="2013-04/weather: the file"):
        run()
    assert not Path("reports/drift.json").exists()


def test_nothing_new_is_quiet(project: Path) -> None:
    decision = run(until="2013-03")
    assert (decision.outcome, decision.partitions) == ("quiet", [])
    assert decision.sentence == "Nothing to do: no data came since the champion was trained."


def test_another_model_needs_another_reference(project: Path) -> None:
    Path("models/model.onnx").write_bytes(onnx_bytes() + b"\n")
    with pytest.raises(UserError, match="is about another model"):
        run()


def test_the_reasons_of_a_retraining_come_first_and_commit_and_run_are_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_RUN_ID", "77")
    whys = ["log_loss is 0.0500 worse; the margin is 0.03.", *(f"input {n}: at least 0.3 away." for n in range(9))]
    rules = [Rule(name=why.split()[0], evidence="inputs", fired=True, why=why) for why in whys]
    rules.append(Rule(name="carrier", evidence="inputs", fired=False, why="carrier: within what is usual."))
    column = Column(name="carrier", distance=[0.3], threshold=[0.1], labels=["UA"], before=[1.0], now=[1.0])
    decision = Decision(outcome="retrain", sentence="…", model="0123456789abcdef", rules=rules, columns=[column])
    event = Event(name="schedule", commit="c" * 40, champion=None, repository="o/r")
    text = decision_markdown(decision, event)
    lines = text.splitlines()
    assert lines[:3] == ["## 🔁 A new model is called for", "", f"- 🔴 {whys[0]}"]
    assert lines[10] == "- … and 2 more rules, all below"
    assert "**Next**: CI trains on the new data in a pull request" in lines[12]
    assert "| `carrier` | 🔴\u00a00.3000 | 0.1000 |" in text
    page = "https://github.com/o/r"
    assert f"More: [`docs/operator.md`]({page}/blob/{'c' * 40}/docs/operator.md)." in text
    assert f"commit [`{'c' * 12}`]({page}/commit/{'c' * 40}) · [run 77]({page}/actions/runs/77)" in lines[-1]


def test_a_log_that_disagrees_says_what_to_compare() -> None:
    rule = Rule(name="prediction log", evidence="data", fired=True, why="the prediction log disagrees.")
    text = decision_markdown(Decision(outcome="broken", sentence="…", rules=[rule]))
    assert "- ⛔ the prediction log disagrees.\n\n**Next**: Compare what clients send" in text
