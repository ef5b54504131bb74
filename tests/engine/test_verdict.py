"""The one required check."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.attempts import refused, works

from mergeworthy.errors import UserError
from mergeworthy.workflow.plan import ON_BEHALF, judge, run_required_check


def needs(
    checks: str = "success",
    plan: str = "success",
    train: str = "success",
    work: str = "train",
    judged: str = "success",
    checked: str = "",
) -> dict[str, dict[str, object]]:
    outputs = {"work": work, "checked": checked} if plan == "success" else {}
    return {
        "checks": {"result": checks},
        "plan": {"result": plan, "outputs": outputs},
        "train": {"result": train, "outputs": {"judged": judged}},
    }


@pytest.mark.attempts("jobs before the verdict")
@pytest.mark.parametrize(
    "facts",
    [
        needs(),
        needs(work="judge"),
        needs(train="skipped", work="nothing"),
        needs(checks="skipped", checked="true"),
    ],
)
def test_green_only_when_all_that_had_to_run_succeeded(facts: dict[str, dict[str, object]]) -> None:
    assert judge(facts) == []
    works(name=json.dumps(facts))


@pytest.mark.attempts("jobs before the verdict")
@pytest.mark.parametrize(
    ("facts", "missing"),
    [
        (needs(checks="failure", train="skipped"), ["checks: failure", "train: skipped"]),
        (needs(plan="failure", train="skipped"), ["plan: failure", "train: skipped"]),
        (needs(train="skipped"), ["train: skipped"]),
        (needs(checks="skipped"), ["checks: skipped"]),
        (needs(checks="failure", checked="true"), ["checks: failure"]),
        (needs(checks="skipped", plan="failure"), ["checks: skipped", "plan: failure"]),
        (needs(train="cancelled"), ["train: cancelled"]),
        (needs(train="failure", work="judge"), ["train: failure"]),
        (needs(train="failure", judged="failure"), ["train: failure"]),
        (needs(judged="failure"), ["gate: failure"]),
        (needs(judged=""), ["gate: failure"]),
        ({}, ["checks: not there", "plan: not there", "train: not there"]),
        ({"checks": {"result": "success"}}, ["plan: not there", "train: not there"]),
        (needs() | {"checks": {}}, ["checks: no result"]),
        (needs() | {"plan": {"result": "neutral"}}, ["plan: neutral"]),
        (needs(train="skipped", work=""), ["train: skipped"]),
        (needs() | {"train": {"result": "success"}}, ["gate: failure"]),
    ],
)
def test_whatever_did_not_succeed_is_named(facts: dict[str, dict[str, object]], missing: list[str]) -> None:
    assert judge(facts) == missing
    refused(", ".join(missing), json.dumps(facts))


def test_a_retraining_needs_its_own_jobs() -> None:
    good = {"check": {"result": "success"}, "train": {"result": "success", "outputs": {"judged": "success"}}}
    assert judge(good, ON_BEHALF) == []
    assert judge({"check": good["check"]}, ON_BEHALF) == ["train: not there"]
    assert judge(good | {"train": {"result": "skipped"}}, ON_BEHALF) == ["train: skipped"]


@pytest.mark.parametrize(
    "given", [None, "", "{}", "[]", "null", "{", pytest.param("[" * 100_000, id="deep"), '{"checks": "success"}']
)
def test_a_run_that_shows_nothing_is_red(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a push in CI, and a step that hands over less than it should
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-qb", "main"], check=True)
    payload = tmp_path / "event.json"
    payload.write_text('{"before": "' + "1" * 40 + '"}')
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "push", "GITHUB_EVENT_PATH": str(payload)}
    for name, value in {**environment, "GITHUB_SHA": "2" * 40, "GITHUB_REF_NAME": "main"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LAPTOP", raising=False)
    monkeypatch.setenv("NEEDS", given) if given is not None else monkeypatch.delenv("NEEDS", raising=False)
    # then
    with pytest.raises(UserError) as red:
        run_required_check()
    assert "not there" in str(red.value) if given == "{}" else "NEEDS is" in str(red.value)
    assert "green" not in capsys.readouterr().out
