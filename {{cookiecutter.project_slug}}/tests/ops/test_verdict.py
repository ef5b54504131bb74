"""The one required check."""

import pytest

from pipeline.ops.verdict import judge


def needs(
    checks: str = "success",
    plan: str = "success",
    train: str = "success",
    work: str = "train",
    judged: str = "success",
) -> dict[str, dict[str, object]]:
    outputs = {"work": work} if plan == "success" else {}
    return {
        "checks": {"result": checks},
        "plan": {"result": plan, "outputs": outputs},
        "train": {"result": train, "outputs": {"judged": judged}},
    }


@pytest.mark.parametrize("facts", [needs(), needs(work="judge"), needs(train="skipped", work="nothing")])
def test_green_only_when_all_that_had_to_run_succeeded(facts: dict[str, dict[str, object]]) -> None:
    assert judge(facts) == []


@pytest.mark.parametrize(
    ("facts", "missing"),
    [
        (needs(checks="failure", train="skipped"), ["checks: failure", "train: skipped"]),
        (needs(plan="failure", train="skipped"), ["plan: failure", "train: skipped"]),
        (needs(train="skipped"), ["train: skipped"]),
        (needs(train="cancelled"), ["train: cancelled"]),
        (needs(train="failure", work="judge"), ["train: failure"]),
        (needs(train="failure", judged="failure"), ["train: failure"]),
        (needs(judged="failure"), ["gate: failure"]),
        (needs(judged=""), ["gate: failure"]),
    ],
)
def test_whatever_did_not_succeed_is_named(facts: dict[str, dict[str, object]], missing: list[str]) -> None:
    assert judge(facts) == missing
