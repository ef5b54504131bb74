"""Bad models are blocked, good ones pass, and whatever cannot be told blocks: through the gate's one entry."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from tests.ops.gate.project import GATES, GOOD, Project, flights, model

from pipeline.ops.gate import Verdict
from pipeline.ops.gate.schema import SCHEMA, current


def blocked(verdict: Verdict) -> dict[str, str]:
    """Name → sentence of each check that blocks."""
    assert verdict.exit_code == (verdict.outcome == "block")
    return {check.name: check.why for check in verdict.checks if check.result == "block"}


def test_the_first_model_has_no_champion_to_meet(young: Project) -> None:
    # given a main that has no dvc.lock
    young.sh("git", "switch", "--quiet", "--create", "work")
    young.ship(**GOOD)
    # when
    verdict = young.gate()
    # then
    assert verdict.outcome == "pass"
    assert verdict.champion is None
    assert "no champion yet" in next(check.why for check in verdict.checks if check.name == "champion")


def test_an_equal_model_passes_and_passes_again(project: Project) -> None:
    # given a model of the same quality with its own noise
    project.ship(**GOOD, noise=0.02)
    # when
    verdict, again = project.gate(), project.gate()
    # then
    assert verdict.outcome == "pass", blocked(verdict)
    assert verdict.champion == project.sh("git", "rev-parse", "main")
    assert {c.value for c in verdict.comparisons if c.column == "carrier"} == {"A", "B", "C"}
    timed = ("p95 ms",)
    assert [c for c in verdict.checks if c.name not in timed] == [c for c in again.checks if c.name not in timed]
    assert verdict.comparisons == again.comparisons
    # and both files say so
    written = project.root / "reports/verdict.json"
    assert Verdict.model_validate_json(written.read_text()) == again
    assert "✅ The model may be merged" in written.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("weights", "checks"),
    [
        ({"signal": 0.4, "noise": 0.8, "bias": -0.9}, {"champion: auc", "champion: log_loss"}),
        ({"signal": 1.0, "signal_c": -1.5, "bias": -1.0}, {"slices: carrier"}),
        ({"signal": 3.0, "bias": -3.0}, {"floor: calibration_slope", "champion: log_loss"}),
        ({"signal": 0.0, "bias": -0.8}, {"sanity", "baseline: auc", "floor: auc", "champion: auc"}),
        ({"signal": float("nan")}, {"sanity", "baseline: auc", "floor: auc", "champion"}),
    ],
    ids=["clearly worse", "worse on one slice only", "overconfident", "constant", "NaN"],
)
def test_a_bad_model_is_blocked_where_it_is_bad(project: Project, weights: dict[str, float], checks: set[str]) -> None:
    project.ship(**weights)
    found = blocked(project.gate())
    assert checks <= found.keys(), found


def test_a_model_bad_on_one_slice_is_blocked_for_that_slice_alone(project: Project) -> None:
    project.ship(**GOOD, signal_c=-1.5)
    project.gates(champion={"margins": {"auc": 0.1, "log_loss": 0.1}})
    found = blocked(project.gate())
    assert found.keys() == {"slices: carrier"}
    assert "C by" in found["slices: carrier"]
    assert "A by" not in found["slices: carrier"]


def test_a_small_slice_is_counted_and_not_judged(project: Project) -> None:
    project.ship(**GOOD, signal_c=-1.5)
    rules = GATES["slices"] | {"columns": ["carrier"], "minimum_rows": 1000}
    project.gates(champion={"margins": {"auc": 0.1, "log_loss": 0.1}}, slices=rules)
    verdict = project.gate()
    assert verdict.outcome == "pass"
    assert any("1 of 3 not judged" in check.why for check in verdict.checks)


def test_a_slice_of_one_class_is_not_judged_by_auc(project: Project) -> None:
    # given a carrier without a single positive
    punctual = pl.when(pl.col("carrier") == "C").then(0).otherwise("arr_delay").cast(pl.Int16)
    project.deliver("2013-06", flights("2013-06").with_columns(arr_delay=punctual))
    project.ship(**GOOD)
    project.gates(slices=GATES["slices"] | {"metric": "auc"})
    # then
    verdict = project.gate()
    assert verdict.outcome == "pass", blocked(verdict)
    assert {c.value for c in verdict.comparisons if c.column == "carrier"} == {"A", "B"}


def test_a_holdout_too_small_for_the_margin_says_the_size(project: Project) -> None:
    project.ship(**GOOD, noise=0.05)
    project.gates(champion={"margins": {"auc": 0.0002}})
    (why,) = blocked(project.gate()).values()
    assert "30 days are too few for this margin" in why
    assert "are needed" in why


def test_a_holdout_of_nine_days_blocks(project: Project) -> None:
    project.deliver("2013-06", flights("2013-06").filter(pl.col("sched_dep").dt.day() < 10))
    project.ship(**GOOD)
    assert "fewer than 10 days" in blocked(project.gate())["champion: auc"]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"flors": {}}, "flors"),
        ({"floors": {"auc": {"mim": 0.6}}}, "floors.auc.mim"),
        ({"floors": {"auc": {}}}, "give min, max or both"),
        ({"floors": {"aucc": {"min": 0.6}}}, "no such metric"),
        ({"champion": {"margins": {}}}, "champion.margins"),
        ({"champion": {"margins": {"calibration_slope": 0.1}}}, "a value in between is best"),
        ({"champion": {"margins": {"auc": float("nan")}}}, "champion.margins.auc"),
        ({"champion": {"margins": {"auc": 0.1}, "if_code_fails": "pass"}}, "champion.if_code_fails"),
        ({"anchor": {"champions": 0}}, "anchor.champions"),
        ({"anchor": {"after": "main"}}, "anchor.after"),
        ({"coverage": 0}, "coverage"),
        ({"slices": GATES["slices"] | {"columns": ["airline"]}}, "no column airline"),
        ({"bootstrap": {"block": "day"}}, "no column day"),
    ],
)
def test_a_mistake_in_gates_yaml_blocks_in_one_sentence(project: Project, sections: dict[str, Any], words: str) -> None:
    project.gates(**sections)
    (why,) = blocked(project.gate()).values()
    assert why.startswith("gates.yaml: ")
    assert words in why
    assert "\n" not in why


def drop_metric(project: Project) -> None:
    path = project.root / "reports/metrics.json"
    metrics = json.loads(path.read_text())
    del metrics["model"]["auc"]
    path.write_text(json.dumps(metrics))


def flatter(project: Project) -> None:
    path = project.root / "reports/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["model"]["auc"] = 0.99
    path.write_text(json.dumps(metrics))


def remove(path: str) -> Callable[[Project], None]:
    return lambda project: (project.root / path).unlink()


def swap_model(project: Project) -> None:
    path = project.root / "models/model.onnx"
    path.unlink()
    path.write_bytes(model(**GOOD, noise=0.001))


def uncover(project: Project) -> None:
    (project.root / "reports/contract.json").write_text('{"partitions": {"2013-05": 1}}')


def other_data(project: Project) -> None:
    path = project.root / "dvc.lock"
    text = path.read_text()
    start = text.index("md5: ") + 5
    path.write_text(text[:start] + "0" * 32 + text[start + 32 :])


@pytest.mark.parametrize(
    ("spoil", "check", "words"),
    [
        (drop_metric, "evaluation", "lacks model.auc"),
        (flatter, "evaluation", "model.auc is 0.99"),
        (remove("reports/metrics.json"), "evaluation", "is missing"),
        (swap_model, "evaluation", "not the file that dvc.lock records"),
        (uncover, "data contract", "does not cover partition 2013-06"),
        (remove("reports/contract.json"), "data contract", "is missing"),
        (remove("features/2013-06.parquet"), "prerequisites", "a holdout needs two"),
        (remove("models/model.onnx"), "prerequisites", "is missing"),
        (remove("dvc.lock"), "evaluation", "dvc.lock is missing"),
    ],
)
def test_what_does_not_belong_together_blocks(
    project: Project, spoil: Callable[[Project], None], check: str, words: str
) -> None:
    spoil(project)
    assert words in blocked(project.gate())[check]


def test_a_heavy_or_slow_model_blocks(project: Project) -> None:
    project.gates(cost={"model_mb": 1e-6, "latency_p95_ms": 1e-6})
    assert blocked(project.gate()).keys() == {"model MB", "p95 ms"}


def test_the_published_schema_is_the_current_one() -> None:
    assert SCHEMA.read_text() == current(), "publish it with `python -m pipeline.ops.gate.schema`"
