"""The retraining pull request and its manners, against the stand-in: what `make retrain` does on a schedule."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.github import GitHub, Job, Run
from tests.github.events import on_branch
from tests.github.process import TOOLS
from tests.schedule import Schedule
from tests.tools import require

pytestmark = pytest.mark.dear


@pytest.fixture
def schedule(project: Path, tmp_path: Path) -> Iterator[Schedule]:
    require(*TOOLS)
    with GitHub(tmp_path / "github") as github:
        yield Schedule(github, project, tmp_path)
        github.assert_no_unknown()


def test_one_pull_request_is_opened_updated_and_closed(schedule: Schedule) -> None:
    # given nothing moved / then nothing is done
    assert schedule.check("quiet") == {}
    assert schedule.repository.pulls == []
    # when a new model is called for, then it arrives with the data and is to be trained
    first = schedule.check("retrain")
    (pull,) = schedule.repository.pulls
    assert first == {"commit": pull.head_sha, "branch": "retrain/auto", "pull-request": str(pull.number)}
    assert "2013-07" in str(schedule.repository.read(pull.head_sha, "data.dvc"))
    assert "## retrain" in pull.body
    # when the training came to nothing, then the next check has it done again; when it left a lock, then not
    assert schedule.check("retrain") == first
    schedule.trained()
    assert schedule.check("retrain") == {}
    # when there is more data, then the same pull request has it
    more = schedule.check("more")
    assert schedule.repository.pulls == [pull]
    assert (pull.title, more["commit"]) == ("Retrain with the data up to 2013-08", pull.head_sha)
    # when drift is gone, then it closes itself and says why
    assert schedule.check("quiet") == {}
    assert pull.state == "closed"
    assert "Drift is gone" in pull.comments[-1].body


def test_a_changed_workflow_on_a_trunk_leaves_one_open_pull_request(project: Path, tmp_path: Path) -> None:
    require(*TOOLS)
    with GitHub(tmp_path / "github") as github:
        schedule = Schedule(github, project, tmp_path, base="trunk")
        schedule.check("retrain")
        (first,) = schedule.repository.pulls
        assert first.base == "trunk"
        # given a workflow file of the default branch that changed since: no job's token may move a branch across that
        schedule.alice.git("switch", "-q", "-C", "trunk", "origin/trunk")
        schedule.alice.commit("Other triggers", {".github/workflows/more.yaml": "on: push\n"})
        schedule.alice.push("trunk")
        # when there is more data, then a new pull request of the same branch continues the old one, and both say so
        more = schedule.check("more")
        _, second = schedule.repository.pulls
        assert (first.state, second.state, second.base) == ("closed", "open", "trunk")
        assert more == {"commit": second.head_sha, "branch": "retrain/auto", "pull-request": str(second.number)}
        assert second.body.startswith(f"Continues #{first.number}.\n")
        assert first.comments[-1].body == f"Continued in #{second.number}."
        assert schedule.repository.read(second.head_sha, ".github/workflows/more.yaml") == "on: push\n"
        # when that was cut off before the new one was there, then the next check opens it, without a cooldown
        second.body, second.state, second.closed_at = first.body, "closed", schedule.days_ago(0)
        schedule.repository.git("update-ref", "-d", "refs/heads/retrain/auto")
        assert schedule.check("more")["pull-request"] == str(second.number + 1)
        github.assert_no_unknown()


def test_after_a_merge_or_a_close_there_is_a_cooldown_and_a_label_stops_it(schedule: Schedule) -> None:
    # given one that was merged / then there is silence, for a week
    schedule.check("retrain")
    (pull,) = schedule.repository.pulls
    schedule.alice.run("gh", "api", "--method", "PUT", f"repos/acme/flight-delays/pulls/{pull.number}/merge")
    assert pull.merged
    assert schedule.check("more") == {}
    pull.closed_at = schedule.days_ago(8)
    assert schedule.check("more")["pull-request"] == str(pull.number + 1)
    # given the label on the next one / then it is left as it is
    newest = schedule.repository.pulls[-1]
    newest.labels.append("no-retraining")
    body = newest.body
    assert schedule.check("retrain") == {}
    assert newest.body == body
    # given that it was closed / then there is silence too
    newest.labels.clear()
    newest.state, newest.closed_at = "closed", schedule.days_ago(1)
    assert schedule.check("more") == {}
    assert len(schedule.repository.pulls) == 2


def test_broken_data_is_one_issue(schedule: Schedule) -> None:
    assert schedule.check("broken") == {}
    (issue,) = schedule.repository.issues.values()
    assert (issue.title, issue.state, issue.labels) == ("The data is broken", "open", ["drift"])
    # when it is still broken, then the issue is brought up to date; when it is whole again, it is closed
    issue.body = "as it was"
    assert schedule.check("broken") == {}
    assert (list(schedule.repository.issues.values()), issue.body) == ([issue], "## broken\n")
    schedule.check("quiet")
    assert issue.state == "closed"


def test_a_remote_that_is_down_is_one_line_and_nothing_half_made(schedule: Schedule) -> None:
    # given a DVC remote that cannot be written / then the job is red with one line, and nothing was made
    settings = schedule.job.folder / ".dvc/config.local"
    settings.write_text(f"['remote \"storage\"']\n    url = {schedule.folder / 'event.json'}\n")
    said = schedule.attempt("retrain", schedule.job)
    assert said.returncode == 1
    (line,) = [line for line in said.stderr.splitlines() if line]
    assert line.startswith("::error::dvc push failed: ")
    assert (schedule.repository.pulls, schedule.repository.branch("retrain/auto")) == ([], None)
    # given that GitHub lets no job open a pull request / then that is the line, and a mended setting mends it
    settings.unlink()
    schedule.repository.actions_may_open_pulls = False
    said = schedule.attempt("retrain", schedule.job)
    assert said.returncode == 1
    assert "so nothing was pushed: switch on Settings → Actions → General" in said.stderr
    assert (schedule.repository.pulls, schedule.repository.branch("retrain/auto")) == ([], None)
    schedule.repository.actions_may_open_pulls = True
    (pull,) = schedule.repository.pulls if schedule.check("retrain") else []
    assert pull.head_sha == schedule.repository.branch("retrain/auto")


def test_two_schedules_at_once_make_one_pull_request(schedule: Schedule) -> None:
    jobs = [schedule.job, schedule.runner("other")]
    with ThreadPoolExecutor() as side_by_side:
        ended = list(side_by_side.map(lambda job: schedule.attempt("retrain", job), jobs))
    # then one of them made it, and the other one is told in a line that it came second, or found it there
    assert 0 in [one.returncode for one in ended]
    assert all(len(one.stderr.splitlines()) == one.returncode for one in ended), [one.stderr for one in ended]
    (pull,) = schedule.repository.pulls
    assert pull.head_sha == schedule.repository.branch("retrain/auto")
    assert len(schedule.repository.git("rev-list", "main..retrain/auto").splitlines()) == 1


def test_a_check_that_failed_twice_in_a_row_is_one_issue(schedule: Schedule) -> None:
    def ended(result: str) -> None:
        """What a run of the schedule leaves, and its job `watch` where the check came to nothing."""
        event = on_branch(schedule.repository, schedule.job.token, "schedule")
        run = Run(schedule.github.next_id(), ".github/workflows/drift.yaml", event)
        errors = ["the remote is down"] if result == "failure" else []
        run.jobs["check"] = Job("check", result, number=schedule.github.next_id(), completed_at="now", errors=errors)
        schedule.repository.runs[run.id] = run
        if result != "success":
            said = schedule.verb("watch", schedule.job, GITHUB_RUN_ID=str(run.id))
            assert said.returncode == 0, said.stderr
        run.conclusion = result

    # given one that succeeded, and one that failed / then nothing is said
    ended("success")
    ended("failure")
    assert not schedule.repository.issues
    # when the next one fails too, and one after it, then one issue says what is wrong
    ended("failure")
    ended("cancelled")
    (issue,) = schedule.repository.issues.values()
    assert (issue.title, issue.state, issue.labels) == ("The drift check does not succeed", "open", ["drift"])
    ended("failure")
    assert "the remote is down" in issue.body
    assert len(schedule.repository.issues) == 1
    # when one succeeds, then it is closed
    schedule.check("quiet")
    assert issue.state == "closed"
    ended("success")
    ended("failure")
    assert issue.state == "closed"
