"""Put the report where it is read: one comment on the pull request, kept up to date, and the job's summary.

CML sends it where `cml` is there; where it is missing or fails, `gh` does; where both fail, the summary has it and the
job warns. Nothing is uploaded to a third party: CML is told not to publish, and the report names no picture.
"""

import json
import os
import tempfile
from typing import Any

from .. import files
from ..adapters import github, workflow
from ..adapters.event import Event, current
from ..errors import UserError
from ..paths import REPORT
from ..process import Deadline, call
from ..report.verdict import MARKER
from ..text import annotation, say

TITLE = "pipeline report"
WATERMARK = f"CML watermark {TITLE}"  # how CML knows its own; the same in every workflow, as the comment is
CML_LOOKS_THROUGH = 30  # comments: the first page, the oldest
LONG = 300  # characters of a reason

Comment = dict[str, Any]


def run() -> None:
    """Send `reports/report.md`; a report that cannot be sent never turns a verdict."""
    event, report = current(), _report()
    summarised = workflow.summarise(report)
    if event.pull_request is None:
        also = " and in the job's summary" if summarised else ""
        say(f"no pull request to comment on: the report is in {REPORT}{also}")
        return
    try:
        send(event, report)
    except UserError as error:
        _warn(f"the report is in the job's summary only: {error}")
    else:
        say(f"the report is on pull request {event.pull_request}")


def send(event: Event, report: str) -> None:
    """Create our comment or update it in place, however many others there are; raise `UserError` if GitHub refuses."""
    try:
        comments = _comments(event)
    except github.MissingError:
        if _with_cml(event):  # it finds its own comment among the first ones, and ours is that one
            return
        raise
    if ours(comments) == cmls(comments):
        if _with_cml(event):
            return
        comments = _comments(event)  # CML may have failed with its work done
    _with_gh(event, report, ours(comments))


def ours(comments: list[Comment]) -> Comment | None:
    """Find our comment, the newest of several. What an outsider posts is never ours, whatever it starts with."""
    found = [comment for comment in comments if comment["body"].startswith(MARKER) and _by_us(comment)]
    return found[-1] if found else None


def cmls(comments: list[Comment]) -> Comment | None:
    """Tell which comment CML would update; it would create one where this is None."""
    found = [comment for comment in comments[:CML_LOOKS_THROUGH] if WATERMARK in comment["body"]]
    return found[-1] if found else None


def _report() -> str:
    return files.read_text(REPORT, "run `make report`")


def _comments(event: Event) -> list[Comment]:
    """All comments of the pull request, oldest first."""
    path = f"repos/{event.repository}/issues/{event.pull_request}/comments?per_page=100"
    return github.api(path, paginate=True) or []


def _by_us(comment: Comment) -> bool:
    """Tell by the author: a workflow's token comments as a bot, a personal one as somebody who may write here."""
    bot = (comment.get("user") or {}).get("type") == "Bot"
    return bot or comment.get("author_association") in ("OWNER", "MEMBER", "COLLABORATOR")


def _with_cml(event: Event) -> bool:
    """Let CML create or update its comment; False where it is missing or fails."""
    token = os.environ.get("GH_TOKEN")
    if not token:
        return False
    command = ["cml", "comment", "update", f"--target=pr/{event.pull_request}", "--no-publish"]
    # CML writes `safe.directory=*` into the global git configuration: let that be a throw-away one.
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "ITERATIVE_DO_NOT_TRACK": "1", "REPO_TOKEN": token}
        try:
            whole = [*command, f"--watermark-title={TITLE}", str(REPORT)]
            done = call(whole, "CML", Deadline.ANSWER, environment=environment)
        except FileNotFoundError:
            return False
        except (OSError, UserError) as error:
            _warn(f"cml did not send the report ({error}), gh does")
            return False
    if done.returncode:
        _warn(f"cml did not send the report (exit code {done.returncode}, {_reason(done.stderr)}), gh does")
    return done.returncode == 0


def _reason(stderr: str) -> str:
    """Return CML's last words in at most LONG characters; its last line may be JSON with the whole request in it."""
    last = (stderr.strip().splitlines() or ["no word why"])[-1]
    try:
        told = json.loads(last)
    except ValueError:
        told = None
    if isinstance(told, dict):
        known = [str(told[key]) for key in ("name", "status", "message") if told.get(key)]
        last = " ".join(known) or "no word why"
    return last if len(last) <= LONG else f"{last[:LONG]}…"


def _with_gh(event: Event, report: str, comment: Comment | None) -> None:
    """Create or update through the API; CML's watermark stays, so that CML finds the comment next time."""
    watermark = [line for line in (comment or {"body": ""})["body"].splitlines() if WATERMARK in line]
    body = {"body": "\n\n".join([report, *watermark])}
    if comment is None:
        github.api(f"repos/{event.repository}/issues/{event.pull_request}/comments", method="POST", body=body)
    else:
        github.api(f"repos/{event.repository}/issues/comments/{comment['id']}", method="PATCH", body=body)


def _warn(text: str) -> None:
    """Say it as an annotation of the run, in one line, and without the token whoever let it slip."""
    token = os.environ.get("GH_TOKEN")
    print(annotation("warning", text.replace(token, "***") if token else text))
