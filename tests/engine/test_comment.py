"""One comment, whoever sends it and however many others there are."""

import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest
from tests.engine.pull_request import TOKEN, PullRequest, opened

from mergeworthy.errors import UserError
from mergeworthy.paths import REPORT
from mergeworthy.report.facts import LIMIT
from mergeworthy.report.sections import MARKER
from mergeworthy.workflow import comment

GIT = shutil.which("git")


@pytest.fixture
def pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PullRequest:
    (tmp_path / "checkout/reports").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "checkout")
    subprocess.run(["git", "init", "--quiet"], check=True)
    return opened(tmp_path / "github", monkeypatch)


def report(text: str) -> str:
    written = f"{MARKER}\n## {text}\n"
    REPORT.write_text(written)
    return written


def test_cml_sends_where_it_is_there_and_leaves_no_trace_in_the_home(pull: PullRequest) -> None:
    report("first")
    pull.cml(there=True)
    comment.run()
    assert pull.state["sent_by"] == ["cml"]
    (body,) = pull.by_us()
    assert body.startswith(f"{MARKER}\n## first")
    assert not Path(pull.state["cml_home"]).exists()
    assert not (pull.folder / ".gitconfig").exists()


def test_gh_sends_where_there_is_no_cml(pull: PullRequest) -> None:
    text = report("first")
    comment.run()
    assert pull.state["sent_by"] == ["gh"]
    assert pull.by_us() == [text]


@pytest.mark.parametrize(("before", "after"), [(0, 130), (29, 2), (30, 0), (120, 40)])
@pytest.mark.parametrize("cml", [True, False])
def test_it_is_updated_in_place_wherever_it_stands(pull: PullRequest, before: int, after: int, cml: bool) -> None:
    """CML alone would write a second one past thirty comments, one page of the API past a hundred."""
    pull.cml(there=cml)
    pull.others_say(*(f"comment {n}, with [brackets][and more]" for n in range(before)))
    report("first")
    comment.run()
    pull.others_say(*(f"answer {n}" for n in range(after)))
    report("second")
    comment.run()
    (body,) = pull.by_us()
    assert "## second" in body
    assert len(pull.state["comments"]) == before + 1 + after


@pytest.mark.parametrize("senders", list(product([True, False], repeat=3)))
def test_changing_between_cml_and_gh_keeps_one_comment(pull: PullRequest, senders: tuple[bool, ...]) -> None:
    for number, cml in enumerate(senders):
        pull.cml(there=cml)
        report(f"report {number}")
        comment.run()
    (body,) = pull.by_us()
    assert "## report 2" in body
    assert body.count("CML watermark") <= 1


def test_cml_takes_its_comment_up_again_after_gh_had_to_write_it(pull: PullRequest) -> None:
    for cml in (True, False, True):
        pull.cml(there=cml)
        report("first")
        comment.run()
    assert pull.state["sent_by"] == ["cml", "gh", "cml"]


@pytest.mark.parametrize("failure", ["fails", "fails after it posted"])
def test_where_cml_fails_gh_sends(pull: PullRequest, capfd: pytest.CaptureFixture[str], failure: str) -> None:
    pull.cml(there=True)
    pull.change(cml=failure)
    for text in ("first", "second"):
        report(text)
        comment.run()
    (body,) = pull.by_us()
    assert "## second" in body
    assert "::warning::cml did not send the report" in capfd.readouterr().out


def test_where_both_fail_the_summary_has_it_and_the_job_is_warned(
    pull: PullRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    text = report("first")
    pull.cml(there=True)
    pull.change(cml="fails", gh="fails")
    comment.run()
    assert pull.summary.read_text() == text
    said = capfd.readouterr()
    warnings = said.out.splitlines()
    assert all(line.startswith("::warning::") for line in warnings)
    assert "in the job's summary only" in warnings[-1]
    assert TOKEN not in said.out + said.err  # though both doubles print it


def test_cml_without_gh_sends(pull: PullRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a machine on which gh is not installed
    monkeypatch.setenv("PATH", str(pull.folder / "bin"))
    (pull.folder / "bin/gh").unlink()
    (pull.folder / "bin/git").symlink_to(str(GIT))
    pull.cml(there=True)
    for text in ("first", "second"):
        report(text)
        comment.run()
    (body,) = pull.by_us()
    assert "## second" in body
    assert pull.state["sent_by"] == ["cml", "cml"]


def test_a_reason_of_cmls_is_short(pull: PullRequest, capfd: pytest.CaptureFixture[str]) -> None:
    """Its last line is JSON with the whole request: 16,058 characters for an ordinary report."""
    report("first")
    pull.cml(there=True)
    pull.change(cml="is refused")
    comment.run()
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "cml did not" in line]
    assert line == (
        "::warning::cml did not send the report (exit code 1, HttpError 403 Resource not accessible by integration), "
        "gh does"
    )


def test_without_gh_and_cml_the_job_is_warned_too(pull: PullRequest, capfd: pytest.CaptureFixture[str]) -> None:
    report("first")
    shim = pull.folder / "bin/gh"
    shim.write_text("#!/bin/sh\nexit 127\n")
    comment.run()
    assert "::warning::" in capfd.readouterr().out


def test_what_an_outsider_posts_is_never_taken_for_ours(pull: PullRequest) -> None:
    """Whoever wrote a comment can edit it: a report put into a stranger's comment could be turned green."""
    bait = f'{MARKER}\n✅\n\n![](https://cml.dev/watermark.png#abc "CML watermark pipeline report")'
    pull.others_say(bait)
    report("first")
    for cml in (True, False, True):
        pull.cml(there=cml)
        comment.run()
    assert pull.state["comments"][0]["body"] == bait
    assert len(pull.by_us()) == 1


def test_the_longest_report_still_fits_with_cmls_watermark(pull: PullRequest) -> None:
    REPORT.write_text(MARKER + "x" * (LIMIT - len(MARKER)))
    pull.cml(there=True)
    comment.run()
    assert pull.state["sent_by"] == ["cml"]
    assert len(pull.by_us()) == 1


def test_without_a_pull_request_the_summary_has_it(
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
