"""Bad models are blocked, good ones pass, and whatever cannot be checked blocks."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from tests.attempts import warned
from tests.engine.gate.project import GATES, GOOD, Project, flights, model

from mergeworthy import artifact, holdout
from mergeworthy.files import MODEL, PREDICTIONS
from mergeworthy.gate.checks import CEILINGS
from mergeworthy.verdict import Verdict

STOPPING = """\
from dataclasses import replace

from mergeworthy import Metric, by_rows


def stop(label, score, weights):
    raise KeyboardInterrupt


project = replace(project, metrics={"stop": Metric(by_rows(stop), greater_is_better=None)})
"""


def blocked(verdict: Verdict) -> dict[str, str]:
    """Return name → sentence of each check that blocks."""
    assert verdict.exit_code == (verdict.outcome == "block")
    return {check.name: check.why for check in verdict.checks if check.result == "block"}


def test_the_first_model_has_no_champion(young: Project) -> None:
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


def test_a_model_without_scores_is_blocked_by_every_check_that_needs_them(project: Project) -> None:
    project.ship(signal=float("nan"))
    assert {"sanity", "baseline: auc", "floor: auc", "champion"} <= blocked(project.gate()).keys()


def test_a_model_bad_on_one_slice_is_blocked_for_that_slice_alone(project: Project) -> None:
    project.ship(**GOOD, signal_c=-1.5)
    project.gates(champion={"margins": {"auc": 0.1, "log_loss": 0.1}})
    sentences = blocked(project.gate())
    assert sentences.keys() == {"slices: carrier"}
    assert "C by" in sentences["slices: carrier"]
    assert "A by" not in sentences["slices: carrier"]


def test_a_small_slice_is_judged_under_its_own_name(project: Project) -> None:
    project.ship(**GOOD, signal_c=-1.5)
    rules = GATES["slices"] | {"columns": ["carrier"], "minimum_rows": 1000}
    project.gates(champion={"margins": {"auc": 0.1, "log_loss": 0.1}}, slices=rules)
    verdict = project.gate()
    assert blocked(verdict).keys() == {"slices: carrier"}
    assert {c.value for c in verdict.comparisons if c.column == "carrier"} == {"A", "B", "C"}


def test_small_slices_of_an_equal_model_are_named_and_pass(project: Project) -> None:
    project.ship(**GOOD, noise=0.02)
    project.gates(slices=GATES["slices"] | {"columns": ["carrier"], "minimum_rows": 2500})
    verdict = project.gate()
    assert verdict.outcome == "pass", blocked(verdict)
    (pool,) = (c for c in verdict.comparisons if c.members)
    assert pool.members == ["B", "C"]
    assert 2500 < pool.rows < 3500
    assert any("judged together: B, C" in check.why for check in verdict.checks)


def test_a_slice_of_one_class_is_not_judged_by_auc(project: Project) -> None:
    # given a carrier without a single positive
    punctual = pl.when(pl.col("carrier") == "C").then(0).otherwise("arr_delay").cast(pl.Int16)
    project.deliver("2013-06", flights("2013-06").with_columns(arr_delay=punctual))
    project.ship(**GOOD)
    project.gates(slices=GATES["slices"] | {"metric": "auc"})
    # then
    verdict = project.gate()
    assert not blocked(verdict)
    assert {c.value for c in verdict.comparisons if c.column == "carrier"} == {"A", "B"}


def test_a_holdout_too_small_for_the_margin_says_the_size(project: Project) -> None:
    project.ship(**GOOD, noise=0.05)
    project.gates(champion={"margins": {"auc": 0.0002}})
    (why,) = blocked(project.gate()).values()
    assert "6,000 rows (30 values of date) are too few for this margin" in why
    assert "are needed" in why


def test_a_holdout_of_nine_days_blocks(project: Project) -> None:
    project.deliver("2013-06", flights("2013-06").filter(pl.col("sched_dep").dt.day() < 10))
    project.ship(**GOOD)
    assert "fewer than 10 values of date" in blocked(project.gate())["champion: auc"]


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
        ({"plausibility": {"jump": {"brier": 0.05}}}, "champion.margins lacks it"),
        ({"floors": {"auc": {"min": 0.9, "max": 0.6}}}, "floors.auc: min is above max"),
        (
            {"slices": GATES["slices"] | {"columns": ["carrier", "carrier"]}},
            "slices.columns: carrier is listed twice",
        ),
        ({"bootstrap": {"block": "date", "resamples": 10**9}}, "bootstrap.resamples"),
    ],
)
def test_a_mistake_in_gates_yaml_blocks_in_one_sentence(project: Project, sections: dict[str, Any], words: str) -> None:
    project.gates(**sections)
    (why,) = blocked(project.gate()).values()
    assert why.startswith("gates.yaml: ")
    assert words in why
    assert "\n" not in why


SLICES = GATES["slices"]
SWITCHED_OFF = {  # limits that no model can miss, and how the verdict names them
    "margin": (
        {"champion": {"margins": {"auc": 1.0}}, "anchor": {"margins": {"auc": 0.04}}},
        "champion.margins.auc is 1,",
    ),
    "margins of the anchor": ({"anchor": {"margins": {"log_loss": 9}}}, "anchor.margins.log_loss is 9,"),
    "twice the champion's": ({"champion": {"margins": {"auc": 0.15}}}, "anchor.margins.auc is 0.3,"),
    "margin of slices": ({"slices": SLICES | {"margin": 5}}, "slices.margin is 5, and a constant guess is only"),
    "margin of drift": ({"drift": {"performance": {"margins": {"auc": 1}}}}, "drift.performance.margins.auc is 1,"),
    "calibration": (
        {"champion": {"margins": {"ece": 1}}, "anchor": {"margins": {"ece": 0.1}}},
        "champion.margins.ece is 1,",
    ),
    "no slices": ({"slices": SLICES | {"columns": []}}, "slices.columns names no column"),
    "no slice": (
        {"slices": SLICES | {"minimum_rows": 6001}},
        "slices.minimum_rows is 6,001, and the holdout has",
    ),
    "jump": ({"plausibility": {"jump": {"auc": 1}}}, "plausibility.jump.auc is 1, and even a perfect model"),
    "single input": ({"plausibility": {"single_input": 1}}, "plausibility.single_input is 1, which no input"),
    "floor": ({"floors": {"auc": {"min": 0}}}, "floors.auc is met by answers that are always wrong"),
    "parity": ({"image": {"parity": 1e9}}, "image.parity is 1e+09, which holds nothing back"),
    "heavy": ({"cost": GATES["cost"] | {"model_mb": 1e6}}, "cost.model_mb is 1e+06, which holds nothing back"),
    "coverage": ({"coverage": 0.01}, "coverage is 0.01, which holds little back"),
    "confidence": (
        {"champion": GATES["champion"] | {"confidence": 0.5}},
        "champion.confidence is 0.5, which holds little back",
    ),
    "drift": ({"drift": {"maximum_skew": 0.99}}, "drift.maximum_skew is 0.99, which holds nothing back"),
    "ceiling": ({"floors": {"log_loss": {"max": 100}}}, "floors.log_loss is met by answers that are always wrong"),
}


@pytest.mark.attempts("checks switched off")
@pytest.mark.parametrize("case", SWITCHED_OFF)
def test_a_check_that_gates_yaml_switches_off_is_a_warning_that_names_the_key(project: Project, case: str) -> None:
    sections, words = SWITCHED_OFF[case]
    project.gates(**sections)
    verdict = project.gate()
    (check,) = [check for check in verdict.checks if check.name == "gates.yaml"]
    assert verdict.outcome == "warn"
    assert words in check.why
    assert check.figure == 1
    warned(check.why)


@pytest.mark.attempts("checks switched off")
def test_each_limit_that_nothing_exceeds_is_counted(project: Project) -> None:
    far = {setting: 0.9 if ceiling < 1 else 10**9 + 1 for setting, ceiling in CEILINGS.items()}
    far["image.parity"] = 0.02
    sections = {name: dict(GATES.get(name, {})) for name in ("cost", "image", "drift")}
    for setting, value in far.items():
        section, *between, name = setting.split(".")
        group = sections[section]
        for part in between:
            group = group.setdefault(part, {})
        group[name] = value
    project.gates(**sections)
    (check,) = [check for check in project.gate().checks if check.name == "gates.yaml"]
    assert check.figure == len(CEILINGS) == 16
    assert "; and 10 more. Choose other limits." in warned(check.why)


def test_wide_limits_that_can_be_missed_are_no_warning(project: Project) -> None:
    # given floors and ceilings that some model would miss
    project.gates(
        floors={"auc": {"max": 0.99}, "calibration_slope": {"max": 1.6}, "log_loss": {"max": 2}},
        champion={"margins": {"auc": 0.1, "log_loss": 0.02}},
        anchor={"margins": {"auc": 0.2}},
    )
    assert project.gate().outcome == "pass"


def test_limits_are_checked_for_the_first_model_too(young: Project) -> None:
    young.gates(champion={"margins": {"auc": 0.6, "log_loss": 0.01}})
    young.sh("git", "switch", "--quiet", "--create", "work")
    young.ship(**GOOD)
    why = {check.name: check.why for check in young.gate().checks}["gates.yaml"]
    assert "champion.margins.auc is 0.6," in why
    assert "anchor.margins.auc is 1.2," in why


def drop_metric(project: Project) -> None:
    path = project.root / "reports/metrics.json"
    metrics = json.loads(path.read_text())
    del metrics["model"]["auc"]
    path.write_text(json.dumps(metrics))


def overstate(project: Project) -> None:
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
        (overstate, "evaluation", "model.auc is 0.99"),
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


def test_a_model_is_given_its_inputs_and_nothing_else(project: Project) -> None:
    # given rows whose other columns, such as the label, are shuffled or absent
    project.ship(**GOOD, noise=0.02)
    with project.inside() as registration:
        rows, session = holdout.read().table, artifact.session(MODEL.read_bytes())
        others = rows.select(pl.exclude("signal", "noise").shuffle(1))
        assert registration.target in others.columns
        # then the scores are those that evaluation recorded
        recorded = pl.read_parquet(PREDICTIONS)["score"]
        for table in (rows, rows.with_columns(others), rows.select("signal", "noise")):
            assert artifact.predict(session, table).tolist() == recorded.to_list()
    # and the gate, which scores the model again, has the same scores
    verdict = project.gate()
    assert verdict.outcome == "pass", blocked(verdict)


def test_a_crash_leaves_no_verdict_of_an_earlier_run(project: Project) -> None:
    # given a verdict and a report
    assert project.gate().outcome == "pass"
    written = [project.root / "reports" / name for name in ("verdict.json", "verdict.md", "report.md")]
    written[2].write_text("may be merged")
    assert all(path.exists() for path in written)
    # when the team's own metric stops the gate during the checks
    code = project.root / "src/ml/__init__.py"
    code.write_text(f"{code.read_text()}\n\n{STOPPING}")
    with pytest.raises(KeyboardInterrupt):
        project.gate()
    # then
    assert not any(path.exists() for path in written)


def test_an_ordinary_improvement_is_no_leak(project: Project) -> None:
    # given a weaker champion, and a model that is better by a usual amount
    project.ship(signal=1.0, noise=0.35, bias=-1.0)
    project.commit("A weaker model")
    champion = project.sh("git", "rev-parse", "HEAD")
    project.gates(plausibility={"jump": {"auc": 0.05}})
    project.ship(**GOOD)
    checks = {check.name: check for check in project.gate(champion).checks}
    assert 0.01 < (checks["plausible: auc"].figure or 0) < 0.05
    assert {checks[name].result for name in ("plausible: auc", "plausible: inputs")} == {"pass"}


def test_a_heavy_or_slow_model_blocks(project: Project) -> None:
    project.gates(cost={"model_mb": 1e-6, "latency_p95_ms": 1e-6})
    assert blocked(project.gate()).keys() == {"model MB", "p95 ms"}
