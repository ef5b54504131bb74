"""The runners: whether a job that requests the GPU finds one."""

from datetime import UTC, datetime, timedelta

import pytest

from mergeworthy.extras import doctor
from mergeworthy.extras.doctor import Level

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize("value", ["gpu", '"gpu"', "['gpu']", "[]", "[1]", '["gpu", ""]', '{"gpu": 1}', ""])
def test_a_variable_that_workflows_cannot_read_is_a_problem(value: str) -> None:
    finding = doctor.variable_finding("GPU_RUNNER", value)
    assert finding.level == Level.PROBLEM
    assert "gh variable set GPU_RUNNER" in finding.remedy


def test_without_the_variable_jobs_run_on_hosted_machines() -> None:
    assert doctor.variable_finding("GPU_RUNNER", None).level == Level.OK
    assert doctor.labels('["self-hosted", "gpu"]') == ["self-hosted", "gpu"]


def runner(name: str, status: str, *labels: str) -> dict[str, object]:
    return {"name": name, "status": status, "labels": [{"name": label} for label in labels]}


@pytest.mark.parametrize(
    ("requested", "registered", "complete", "level", "says"),
    [
        (["self-hosted", "GPU"], [runner("a", "online", "self-hosted", "Linux", "gpu")], True, Level.OK, "1 online"),
        (
            ["self-hosted", "gpu"],
            [runner("a", "offline", "self-hosted", "gpu")],
            True,
            Level.PROBLEM,
            "a has the labels",
        ),
        (["self-hosted", "gpu"], [runner("a", "online", "self-hosted")], True, Level.PROBLEM, "no runner has all"),
        (["self-hosted", "gpu"], [], False, Level.WARNING, "may not see the organisation's"),
        (["gpu"], [], True, Level.WARNING, "a scale set on Kubernetes shows none between jobs"),
    ],
)
def test_a_job_needs_a_runner_with_every_label_that_is_online(
    requested: list[str], registered: list[dict[str, object]], complete: bool, level: Level, says: str
) -> None:
    finding = doctor.runner_available(requested, registered, complete=complete)
    assert finding.level == level
    assert says in finding.says


@pytest.mark.parametrize(
    ("days_since_newer", "level"), [(None, Level.OK), (5, Level.OK), (25, Level.WARNING), (31, Level.PROBLEM)]
)
def test_a_runner_gets_no_jobs_thirty_days_after_the_next_release(days_since_newer: int | None, level: Level) -> None:
    # given old releases and a newer one; as versions, 2.9 is older than 2.10, as text it is not
    releases = {"2.9.0": NOW - timedelta(days=300), "2.10.0": NOW - timedelta(days=200)}
    if days_since_newer is not None:
        releases["2.11.0"] = NOW - timedelta(days=days_since_newer)
    finding = doctor.runner_age({"gpu-0": "2.10.0"}, releases, NOW)
    assert finding.level == level
    assert "gpu-0 is version 2.10.0" in finding.says


def test_the_first_release_that_was_missed_counts_not_the_newest() -> None:
    releases = {"2.11.0": NOW - timedelta(days=40), "2.12.0": NOW - timedelta(days=1)}
    assert doctor.runner_age({"old": "2.10.0", "new": "2.12.0"}, releases, NOW).level == Level.PROBLEM
