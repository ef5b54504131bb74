"""GitHub through `gh`, which reads its token from the environment; every write can be repeated with the same result."""

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

from ..errors import UserError
from .event import Event
from .outside import Deadline, call


def api(path: str, *, method: str = "GET", body: Mapping[str, Any] | None = None, paginate: bool = False) -> Any:
    """Call the REST API and give its JSON; raise `UserError` with GitHub's own words where it refuses."""
    command = ["gh", "api", "--method", method, path, *(["--paginate"] if paginate else [])]
    text = json.dumps(body) if body is not None else None
    try:
        whole = [*command, *(["--input", "-"] if body is not None else [])]
        done = call(whole, f"GitHub ({method} {path})", Deadline.ANSWER, text=text)
    except FileNotFoundError:
        raise UserError("gh is not installed on this runner, see infra/runner/README.md") from None
    if done.returncode:
        raise UserError(f"GitHub refused {method} {path}: {(done.stderr or done.stdout).strip()}")
    return pages(done.stdout) if paginate else json.loads(done.stdout or "null")


def pages(text: str) -> list[Any]:
    """All elements of JSON lists that are printed one after the other, as `gh --paginate` does."""
    decoder, found, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        page, end = decoder.raw_decode(rest)
        found += page
        rest = rest[end:].lstrip()
    return found


def is_protected(event: Event) -> bool:
    """Tell whether the branch of a push is protected."""
    return bool(api(f"repos/{event.repository}/branches/{event.branch}")["protected"])


def failures(event: Event) -> dict[str, list[str]]:
    """What the failed jobs of this run said of themselves: name → the errors that each left as annotations."""
    jobs = api(f"repos/{event.repository}/actions/runs/{os.environ['GITHUB_RUN_ID']}/jobs?per_page=100")["jobs"]
    told = {}
    for job in [job for job in jobs if job["conclusion"] == "failure"]:
        check = job["check_run_url"].rsplit("/", 1)[-1]
        notes = api(f"repos/{event.repository}/check-runs/{check}/annotations?per_page=100")
        errors = [note["message"] for note in notes if note["annotation_level"] == "failure"]
        # GitHub's own "Process completed with exit code 1." is news only where there is no other.
        told[job["name"]] = [error for error in errors if not error.startswith("Process completed")] or errors
    return told


def conclude(event: Event, commit: str, *, success: bool, summary: str) -> None:
    """Put the check `verdict` on `commit`: a commit made with the job's own token starts no run that could."""
    runs = api(f"repos/{event.repository}/commits/{commit}/check-runs?check_name=verdict")["check_runs"]
    body = {
        "name": "verdict",
        "head_sha": commit,
        "status": "completed",
        "conclusion": "success" if success else "failure",
        "output": {"title": "judged by the run of the commit before", "summary": summary},
    }
    if runs:
        api(f"repos/{event.repository}/check-runs/{runs[0]['id']}", method="PATCH", body=body)
    else:
        api(f"repos/{event.repository}/check-runs", method="POST", body=body)


def git_credentials(event: Event) -> dict[str, str]:
    """Environment that lets git push with the job's token; it never stands in an argument, a file or a log."""
    token = os.environ.get("GH_TOKEN")
    if not token:
        raise UserError("GH_TOKEN is not set: the workflow's step must hand it over")
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{event.server}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {basic}",
    }
