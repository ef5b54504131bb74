"""Put the report where it is read: one comment on the pull request, kept up to date, and the job's summary.

CML sends it where `cml` is there; where it is missing or fails, `gh` does; where both do, the summary has it and the job
warns. Nothing is uploaded to a third party: the report names no local file, and CML is told not to publish.
"""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..paths import REPORT
from . import github
from .event import Event, current

MARKER = "<!-- pipeline report -->"
CML_LOOKS_THROUGH = 30  # comments: one page, the first
CML_WATERMARK = "CML watermark"  # how CML knows its own comment


def find(event: Event) -> tuple[int, dict[str, Any] | None]:
    """Our comment and its position among all comments, oldest first; None where there is none yet."""
    pages = f"repos/{event.repository}/issues/{event.pull_request}/comments?per_page=100"
    for position, comment in enumerate(github.api(pages, paginate=True) or []):
        if MARKER in comment["body"]:
            return position, comment
    return 0, None


def with_cml(event: Event) -> bool:
    """Let CML create or update its comment; False where it is missing or fails."""
    command = ["cml", "comment", "update", f"--target=pr/{event.pull_request}", "--no-publish"]
    # CML writes `safe.directory=*` into the global git configuration: let that be a throw-away one.
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HOME": home, "ITERATIVE_DO_NOT_TRACK": "1", "REPO_TOKEN": os.environ["GH_TOKEN"]}
        try:
            done = subprocess.run(
                [*command, "--watermark-title={workflow}", str(REPORT)],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
        except FileNotFoundError:
            return False
        except subprocess.TimeoutExpired:
            print("::warning::cml did not answer within 120 s: gh sends the report")
            return False
    if done.returncode:
        print(f"::warning::cml failed with exit code {done.returncode}: gh sends the report")
    return done.returncode == 0


def send(event: Event) -> None:
    """Create our comment or update it in place, however many others there are."""
    position, comment = find(event)
    old = comment["body"] if comment else ""
    cml_would_find_it = comment is None or (position < CML_LOOKS_THROUGH and CML_WATERMARK in old)
    if cml_would_find_it and with_cml(event):
        return
    # Whoever wrote it last, CML must find it again next time.
    watermark = [line for line in old.splitlines() if CML_WATERMARK in line]
    body = {"body": "\n\n".join([REPORT.read_text(), *watermark])}
    if comment is None:
        github.api(f"repos/{event.repository}/issues/{event.pull_request}/comments", method="POST", body=body)
    else:
        github.api(f"repos/{event.repository}/issues/comments/{comment['id']}", method="PATCH", body=body)


def run() -> None:
    """Send `reports/report.md`; a report that cannot be sent never turns a verdict."""
    event = current()
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a") as file:
            file.write(REPORT.read_text())
    if event.pull_request is None:
        print(f"no pull request to comment on: the report is in {REPORT} and in the job's summary")
        return
    try:
        send(event)
    except UserError as error:
        print(f"::warning::the report is in the job's summary only: {error}")
    else:
        print(f"the report is on pull request {event.pull_request}")
