"""`make retrain` and `make watch` on a schedule: pull request, cooldown, opt-out label and issues."""

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
    # when a new model is called for, then a pull request has the data, and is to be trained
    first = schedule.check("retrain")
    (pull,) = schedule.repository.pulls
    assert first == {"commit": pull.head_sha, "branch": "retrain/auto", "pull-request": str(pull.number)}
    assert "2013-07" in str(schedule.repository.read(pull.head_sha, "data.dvc"))
    assert "## retrain" in pull.body
    # when the training failed, then the next check repeats it; when it left a lock, then not
    assert schedule.check("retrain") == first
    schedule.trained()
    assert schedule.check("retrain") == {}
    # when there is more data, then the same pull request gets it
    more = schedule.check("more")
    assert schedule.repository.pulls == [pull]
    assert (pull.title, more["commit"]) == ("Retrain with the data up to 2013-08", pull.head_sha)
    # when drift is gone, then it is closed with a comment
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
        # when that was interrupted before the new one was opened, then the next check opens it, without a cooldown
        second.body, second.state, second.closed_at = first.body, "closed", schedule.days_ago(0)
        schedule.repository.git("update-ref", "-d", "refs/heads/retrain/auto")
        assert schedule.check("more")["pull-request"] == str(second.number + 1)
        github.assert_no_unknown()


def test_after_a_merge_or_a_close_there_is_a_cooldown_and_a_label_stops_it(schedule: Schedule) -> None:
    # given a merged pull request / then nothing is done for a week
    schedule.check("retrain")
    (pull,) = schedule.repository.pulls
    schedule.alice.run("gh", "api", "--method", "PUT", f"repos/acme/flight-delays/pulls/{pull.number}/merge")
    assert pull.merged
    assert schedule.check("more") == {}
    pull.closed_at = schedule.days_ago(8)
    assert schedule.check("more")["pull-request"] == str(pull.number + 1)
    # given the opt-out label on the next pull request / then it is not changed
    newest = schedule.repository.pulls[-1]
    newest.labels.append("no-retraining")
    body = newest.body
    assert schedule.check("retrain") == {}
    assert newest.body == body
    # given a closed pull request / then nothing is done either
    newest.labels.clear()
    newest.state, newest.closed_at = "closed", schedule.days_ago(1)
    assert schedule.check("more") == {}
    assert len(schedule.repository.pulls) == 2


def test_broken_data_is_one_issue(schedule: Schedule) -> None:
    assert schedule.check("broken") == {}
    (issue,) = schedule.repository.issues.values()
    assert (issue.title, issue.state, issue.labels) == ("The data is broken", "open", ["drift"])
    # when it is still broken, then the issue is updated; when the data is valid again, then it is closed
    issue.body = "as it was"
    assert schedule.check("broken") == {}
    assert (list(schedule.repository.issues.values()), issue.body) == ([issue], "## broken\n")
    schedule.check("quiet")
    assert issue.state == "closed"


def test_a_remote_that_is_down_is_one_line_and_leaves_nothing_behind(schedule: Schedule) -> None:
    # given a DVC remote that cannot be written / then the job is red with one line, and there is no pull request
    settings = schedule.job.folder / ".dvc/config.local"
    settings.write_text(f"['remote \"storage\"']\n    url = {schedule.folder / 'event.json'}\n")
    ended = schedule.attempt("retrain", schedule.job)
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if line]
    assert line.startswith("::error::dvc push failed: ")
    assert (schedule.repository.pulls, schedule.repository.branch("retrain/auto")) == ([], None)
    # given that GitHub lets no job open a pull request / then that is the line, until the setting is corrected
    settings.unlink()
    schedule.repository.actions_may_open_pulls = False
    ended = schedule.attempt("retrain", schedule.job)
    assert ended.returncode == 1
    assert "so nothing was pushed: switch on Settings → Actions → General" in ended.stderr
    assert (schedule.repository.pulls, schedule.repository.branch("retrain/auto")) == ([], None)
    schedule.repository.actions_may_open_pulls = True
    (pull,) = schedule.repository.pulls if schedule.check("retrain") else []
    assert pull.head_sha == schedule.repository.branch("retrain/auto")


def test_two_schedules_at_once_make_one_pull_request(schedule: Schedule) -> None:
    jobs = [schedule.job, schedule.runner("other")]
    with ThreadPoolExecutor() as side_by_side:
        ended = list(side_by_side.map(lambda job: schedule.attempt("retrain", job), jobs))
    # then one of them opened it; the other fails with one line, or finds the pull request there
    assert 0 in [process.returncode for process in ended]
    assert all(len(process.stderr.splitlines()) == process.returncode for process in ended), ended
    (pull,) = schedule.repository.pulls
    assert pull.head_sha == schedule.repository.branch("retrain/auto")
    assert len(schedule.repository.git("rev-list", "main..retrain/auto").splitlines()) == 1


def test_a_check_that_failed_twice_in_a_row_is_one_issue(schedule: Schedule) -> None:
    def end_run(result: str) -> None:
        """Record a run of the schedule with this result, and run its job `watch` if the check failed."""
        event = on_branch(schedule.repository, schedule.job.token, "schedule")
        run = Run(schedule.github.next_id(), ".github/workflows/drift.yaml", event)
        errors = ["the remote is down"] if result == "failure" else []
        run.jobs["check"] = Job("check", result, number=schedule.github.next_id(), completed_at="now", errors=errors)
        schedule.repository.runs[run.id] = run
        if result != "success":
            watch = schedule.verb("watch", schedule.job, GITHUB_RUN_ID=str(run.id))
            assert watch.returncode == 0, watch.stderr
        run.conclusion = result

    # given a run that succeeded, and one that failed / then there is no issue
    end_run("success")
    end_run("failure")
    assert not schedule.repository.issues
    # when the next runs fail too, then one issue has the errors
    end_run("failure")
    end_run("cancelled")
    (issue,) = schedule.repository.issues.values()
    assert (issue.title, issue.state, issue.labels) == ("The drift check does not succeed", "open", ["drift"])
    end_run("failure")
    assert "the remote is down" in issue.body
    assert len(schedule.repository.issues) == 1
    # when a run succeeds, then it is closed
    schedule.check("quiet")
    assert issue.state == "closed"
    end_run("success")
    end_run("failure")
    assert issue.state == "closed"
