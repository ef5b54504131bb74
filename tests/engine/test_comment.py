"""The report is one comment, whether CML or gh sends it and however many other comments there are."""

import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest
from tests.engine.pull_request import TOKEN, PullRequest, open_pull_request

from mergeworthy.errors import UserError
from mergeworthy.files import REPORT
from mergeworthy.report import MARKER
from mergeworthy.text import COMMENT_BYTES
from mergeworthy.workflow import comment

GIT = shutil.which("git")


@pytest.fixture
def pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PullRequest:
    (tmp_path / "checkout/reports").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "checkout")
    subprocess.run(["git", "init", "--quiet"], check=True)
    return open_pull_request(tmp_path / "github", monkeypatch)


def report(title: str) -> str:
    """Write a report and return it."""
    text = f"{MARKER}\n## {title}\n"
    REPORT.write_text(text)
    return text


def test_cml_sends_if_it_is_installed_and_writes_nothing_into_the_home(pull: PullRequest) -> None:
    report("first")
    pull.cml(installed=True)
    comment.run()
    assert pull.state["sent_by"] == ["cml"]
    (body,) = pull.our_comments()
    assert body.startswith(f"{MARKER}\n## first")
    assert not Path(pull.state["cml_home"]).exists()
    assert not (pull.folder / ".gitconfig").exists()


def test_gh_sends_without_cml(pull: PullRequest) -> None:
    text = report("first")
    comment.run()
    assert pull.state["sent_by"] == ["gh"]
    assert pull.our_comments() == [text]


@pytest.mark.parametrize(("before", "after"), [(0, 130), (29, 2), (30, 0), (120, 40)])
@pytest.mark.parametrize("cml", [True, False])
def test_the_comment_is_updated_in_place_at_any_position(pull: PullRequest, before: int, after: int, cml: bool) -> None:
    """CML alone would write a second one after thirty comments, one page of the API after a hundred."""
    pull.cml(installed=cml)
    pull.add_comments(*(f"comment {n}, with [brackets][and more]" for n in range(before)))
    report("first")
    comment.run()
    pull.add_comments(*(f"answer {n}" for n in range(after)))
    report("second")
    comment.run()
    (body,) = pull.our_comments()
    assert "## second" in body
    assert len(pull.state["comments"]) == before + 1 + after


@pytest.mark.parametrize("senders", list(product([True, False], repeat=3)))
def test_changing_between_cml_and_gh_keeps_one_comment(pull: PullRequest, senders: tuple[bool, ...]) -> None:
    for number, cml in enumerate(senders):
        pull.cml(installed=cml)
        report(f"report {number}")
        comment.run()
    (body,) = pull.our_comments()
    assert "## report 2" in body
    assert body.count("CML watermark") <= 1


def test_cml_updates_its_comment_again_after_gh_wrote_it(pull: PullRequest) -> None:
    for cml in (True, False, True):
        pull.cml(installed=cml)
        report("first")
        comment.run()
    assert pull.state["sent_by"] == ["cml", "gh", "cml"]


@pytest.mark.parametrize("failure", ["fails", "fails after it posted"])
def test_if_cml_fails_gh_sends(pull: PullRequest, capfd: pytest.CaptureFixture[str], failure: str) -> None:
    pull.cml(installed=True)
    pull.change(cml=failure)
    for text in ("first", "second"):
        report(text)
        comment.run()
    (body,) = pull.our_comments()
    assert "## second" in body
    assert "::warning::cml did not send the report" in capfd.readouterr().out


def test_if_both_fail_the_summary_has_the_report_and_the_job_warns(
    pull: PullRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    text = report("first")
    pull.cml(installed=True)
    pull.change(cml="fails", gh="fails")
    comment.run()
    assert pull.summary.read_text() == text
    output = capfd.readouterr()
    warnings = output.out.splitlines()
    assert all(line.startswith("::warning::") for line in warnings)
    assert "in the job's summary only" in warnings[-1]
    assert TOKEN not in output.out + output.err  # though both doubles print it


def test_cml_without_gh_sends(pull: PullRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a machine on which gh is not installed
    monkeypatch.setenv("PATH", str(pull.folder / "bin"))
    (pull.folder / "bin/gh").unlink()
    (pull.folder / "bin/git").symlink_to(str(GIT))
    pull.cml(installed=True)
    for text in ("first", "second"):
        report(text)
        comment.run()
    (body,) = pull.our_comments()
    assert "## second" in body
    assert pull.state["sent_by"] == ["cml", "cml"]


def test_the_reason_why_cml_failed_is_short(pull: PullRequest, capfd: pytest.CaptureFixture[str]) -> None:
    """Its last line is JSON with the whole request: 16,058 characters for an ordinary report."""
    report("first")
    pull.cml(installed=True)
    pull.change(cml="is refused")
    comment.run()
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "cml did not" in line]
    assert line == (
        "::warning::cml did not send the report (exit code 1, HttpError 403 Resource not accessible by integration), "
        "so gh sends it"
    )


def test_without_gh_and_cml_the_job_warns_too(pull: PullRequest, capfd: pytest.CaptureFixture[str]) -> None:
    report("first")
    (pull.folder / "bin/gh").write_text("#!/bin/sh\nexit 127\n")
    comment.run()
    assert "::warning::" in capfd.readouterr().out


def test_a_comment_by_an_outsider_is_never_taken_for_ours(pull: PullRequest) -> None:
    """Authors can edit their comments: a report in an outsider's comment could be changed to green."""
    bait = f'{MARKER}\n✅\n\n![](https://cml.dev/watermark.png#abc "CML watermark pipeline report")'
    pull.add_comments(bait)
    report("first")
    for cml in (True, False, True):
        pull.cml(installed=cml)
        comment.run()
    assert pull.state["comments"][0]["body"] == bait
    assert len(pull.our_comments()) == 1


def test_the_longest_report_still_fits_with_cmls_watermark(pull: PullRequest) -> None:
    REPORT.write_text(MARKER + "x" * (COMMENT_BYTES - len(MARKER)))
    pull.cml(installed=True)
    comment.run()
    assert pull.state["sent_by"] == ["cml"]
    assert len(pull.our_comments()) == 1


def test_without_a_pull_request_the_summary_has_the_report(
    pull: PullRequest, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_EVENT_NAME", "push")
    monkeypatch.setenv("GITHUB_REF_NAME", "main")
    monkeypatch.setenv("GITHUB_SHA", "0" * 40)
    (pull.folder / "event.json").write_text("{}")
    text = report("first")
    comment.run()
    assert pull.summary.read_text() == text
    assert "no pull request" in capfd.readouterr().out


def test_a_missing_report_is_one_sentence(pull: PullRequest) -> None:
    with pytest.raises(UserError, match=r"reports/report.md is missing: run `make report`"):
        comment.run()
