"""GitHub through `gh`, which reads its token from the environment; every write can be repeated with the same result."""

import base64
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from ..errors import UserError
from ..process import Deadline, call
from .event import Event


class RefusedError(UserError):
    """GitHub answered, and refused; `status` is its HTTP status, 0 if gh did not tell."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class MissingError(UserError):
    """The program `gh` is not installed."""


FORBIDDEN = 403
ACTIONS = "github-actions"  # the slug of GitHub's own App, whose check runs are those of jobs and of their tokens


def api(path: str, *, method: str = "GET", body: Mapping[str, Any] | None = None, paginate: bool = False) -> Any:
    """Call the REST API and give its JSON; raise `UserError` with GitHub's own words where it refuses."""
    command = ["gh", "api", "--method", method, path, *(["--paginate"] if paginate else [])]
    text = json.dumps(body) if body is not None else None
    try:
        whole = [*command, *(["--input", "-"] if body is not None else [])]
        done = call(whole, f"GitHub ({method} {path})", Deadline.ANSWER, text=text)
    except FileNotFoundError:
        raise MissingError("gh is not installed on this runner, see infra/runner/README.md") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        status = re.search(r"\(HTTP (\d{3})\)", said)
        raise RefusedError(f"GitHub refused {method} {path}: {said}", int(status[1]) if status else 0)
    return pages(done.stdout) if paginate else json.loads(done.stdout or "null")


def pages(text: str) -> list[Any]:
    """All elements of JSON lists that are printed one after the other, as `gh --paginate` does."""
    decoder, found, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        page, end = decoder.raw_decode(rest)
        found += page
        rest = rest[end:].lstrip()
    return found


def require_pull_requests(event: Event, base: str) -> None:
    """Raise `UserError` if this token may open no pull request, before anything is pushed that needs one.

    The setting itself can be read by administrators alone. So a pull request from `base` to `base` is asked for:
    there can be none (422), and whoever may not open any is told that instead (403).
    """
    try:
        body = {"title": "May pull requests be opened?", "head": base, "base": base}
        api(f"repos/{event.repository}/pulls", method="POST", body=body)
    except RefusedError as error:
        if error.status == FORBIDDEN:
            raise UserError(
                "no pull request can be opened here, so nothing was pushed: switch on Settings → Actions → General → "
                f'"Allow GitHub Actions to create and approve pull requests", or give CI a GitHub App ({error})'
            ) from None


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


def verdicts(event: Event, commit: str) -> list[dict[str, Any]]:
    """Return the check runs `verdict` on `commit` that GitHub Actions made; any other App can make one of that name."""
    path = f"repos/{event.repository}/commits/{commit}/check-runs?check_name=verdict&per_page=100"
    return [run for run in api(path)["check_runs"] if (run.get("app") or {}).get("slug") == ACTIONS]


def conclude(event: Event, commit: str, *, success: bool, summary: str) -> None:
    """Put the check `verdict` on `commit`, which was pushed with the job's own token.

    GitHub parks the run that such a push starts until a person approves it. Nobody need: this is the required check.
    """
    runs = verdicts(event, commit)
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


def commit(repository: str, parent: str, tree: str, path: str, content: str, message: str) -> str:
    """Make a commit on `parent` that is on no branch yet, and return its id.

    `tree` is the parent's tree, `path` the file's name from the repository's top.

    GitHub signs it, as it does for a job or an App that names no author.
    """
    at = f"repos/{repository}/git"
    entry = {"path": path, "mode": "100644", "type": "blob", "content": content}
    new = api(f"{at}/trees", method="POST", body={"base_tree": tree, "tree": [entry]})["sha"]
    made = api(f"{at}/commits", method="POST", body={"message": message, "tree": new, "parents": [parent]})
    return str(made["sha"])


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
