"""GitHub through `gh`: its API, and the branches and pull requests that only commands of this engine write.

`gh` reads its token from the environment. Every write can be repeated with the same result.

Such a branch has one commit of one file on top of another branch, made without touching the checkout. In CI GitHub
makes that commit and signs it, so that a branch whose rules require signed commits accepts it. The branch has one pull
request, which is updated in place, or replaced if the branch has to be created anew (see `move_branch`).
"""

import base64
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..process import Deadline, call
from ..text import within
from . import git
from .actions import Event, current

Pull = dict[str, Any]
FORBIDDEN = 403
QUIET = {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1", "GH_PAGER": "cat"}
ACTIONS = "github-actions"  # the slug of GitHub's own App, whose check runs are those of jobs and of their tokens
LIMIT = 60_000  # bytes of text in an issue or a pull request; GitHub refuses more than 65,536 characters
REPLACED = "<!-- replaced by the next one of this branch -->"  # marks a pull request that no person closed


class RefusedError(UserError):
    """GitHub refused a request; `status` is the HTTP status, 0 if gh did not print it."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class MissingError(UserError):
    """The program `gh` is not installed."""


def api(
    path: str,
    *,
    method: str = "GET",
    body: Mapping[str, Any] | None = None,
    paginate: bool = False,
    host: str | None = None,
) -> Any:
    """Call the REST API and return its JSON; raise `RefusedError` with GitHub's reason if it refuses."""
    command = ["gh", "api", "--method", method, path]
    command += ["--hostname", host] if host else []
    command += ["--paginate"] if paginate else []
    command += ["--input", "-"] if body is not None else []
    text = json.dumps(body) if body is not None else None
    try:
        done = call(command, f"GitHub ({method} {path})", Deadline.ANSWER, text=text)
    except FileNotFoundError:
        raise MissingError("gh is not installed on this runner, see infra/runner/README.md") from None
    if done.returncode:
        reason = (done.stderr or done.stdout).strip() + _details(done.stdout)
        status = re.search(r"\(HTTP (\d{3})\)", reason)
        raise RefusedError(f"GitHub refused {method} {path}: {reason}", int(status[1]) if status else 0)
    return pages(done.stdout) if paginate else json.loads(done.stdout or "null")


def _details(text: str) -> str:
    """Return the details in the JSON of a refusal, which gh prints if they are objects and leaves out if texts."""
    try:
        errors = json.loads(text)["errors"]
    except (ValueError, KeyError, TypeError):
        return ""
    texts = [each for each in errors if isinstance(each, str)]
    return f": {'; '.join(texts)}" if texts else ""


def pages(text: str) -> list[Any]:
    """Return all elements of JSON lists that are printed one after the other, as `gh --paginate` does."""
    decoder = json.JSONDecoder()
    elements: list[Any] = []
    rest = text.strip()
    while rest:
        page, end = decoder.raw_decode(rest)
        elements += page
        rest = rest[end:].lstrip()
    return elements


@dataclass(frozen=True)
class Answer:
    """An answer of GitHub's: status (0: none in time, 401: gh is not signed in), JSON, and headers in lower case."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Return if GitHub answered the question."""
        return self.status == 200


def ask(host: str, paths: Mapping[str, str], deadline: Deadline = Deadline.GLANCE) -> dict[str, Answer]:
    """Return the answers to a GET of each path, by the names of the paths; all are asked at once."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(zip(paths, pool.map(lambda path: _get(host, path, deadline), paths.values()), strict=True))


def _get(host: str, path: str, deadline: Deadline) -> Answer:
    command = ["gh", "api", "--hostname", host, "--include", path]
    try:
        done = call(command, host, deadline, environment=QUIET)
    except UserError:
        return Answer(0)
    return parse_answer(done.stdout) or Answer(401 if "gh auth login" in done.stderr else 0)


def parse_answer(text: str) -> Answer | None:
    """Return the answer that `gh api --include` printed: status line, headers, empty line, body; None if it is none."""
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.splitlines() or [""]
    words = first.split()
    if len(words) < 2 or not words[0].startswith("HTTP/"):
        return None
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    try:
        return Answer(int(words[1]), json.loads(body) if body.strip() else None, headers)
    except ValueError:
        return Answer(int(words[1]), None, headers)


def require_pull_requests(event: Event, base: str) -> None:
    """Raise `UserError` if this token may open no pull request, before anything is pushed that needs one.

    Only administrators can read the setting itself. So this requests a pull request from `base` to `base`. GitHub
    refuses it as invalid (422), or as forbidden (403) if the token may open none.
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
    """Return whether the branch of a push is protected."""
    return bool(api(f"repos/{event.repository}/branches/{event.branch}")["protected"])


def failures(event: Event) -> dict[str, list[str]]:
    """Return name → errors of each failed job of this run; a job leaves its errors as annotations."""
    jobs = api(f"repos/{event.repository}/actions/runs/{os.environ['GITHUB_RUN_ID']}/jobs?per_page=100")["jobs"]
    errors_by_job = {}
    for job in [job for job in jobs if job["conclusion"] == "failure"]:
        check = job["check_run_url"].rsplit("/", 1)[-1]
        notes = api(f"repos/{event.repository}/check-runs/{check}/annotations?per_page=100")
        errors = [note["message"] for note in notes if note["annotation_level"] == "failure"]
        # GitHub's own "Process completed with exit code 1." is of use only if there is no other.
        errors_by_job[job["name"]] = [error for error in errors if not error.startswith("Process completed")] or errors
    return errors_by_job


def verdicts(event: Event, commit: str) -> list[dict[str, Any]]:
    """Return the check runs `verdict` on `commit` that GitHub Actions made; any other App can make one of that name."""
    path = f"repos/{event.repository}/commits/{commit}/check-runs?check_name=verdict&per_page=100"
    return [run for run in api(path)["check_runs"] if (run.get("app") or {}).get("slug") == ACTIONS]


def conclude(event: Event, commit: str, *, success: bool, summary: str) -> None:
    """Put the check `verdict` on `commit`, which was pushed with the job's own token.

    GitHub holds the run that such a push starts until a person approves it. This check makes that unnecessary.
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

    `tree` is the parent's tree, `path` the file's path from the top of the repository. GitHub signs the commit, as it
    does for a job or an App that names no author.
    """
    at = f"repos/{repository}/git"
    entry = {"path": path, "mode": "100644", "type": "blob", "content": content}
    new = api(f"{at}/trees", method="POST", body={"base_tree": tree, "tree": [entry]})["sha"]
    body = {"message": message, "tree": new, "parents": [parent]}
    return str(api(f"{at}/commits", method="POST", body=body)["sha"])


def git_credentials(event: Event) -> dict[str, str]:
    """Return the environment with which git pushes by the job's token, kept out of arguments, files and logs."""
    token = os.environ.get("GH_TOKEN")
    if not token:
        raise UserError("GH_TOKEN is not set: the workflow's step must hand it over")
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{event.server}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {basic}",
    }


def credentials(event: Event) -> dict[str, str]:
    """Return the environment of git: in CI the job's token and the bot's name; on a laptop nothing, git has its own."""
    return git_credentials(event) | git.BOT if event.name else {}


def fetch_branch(branch: str, environment: Mapping[str, str]) -> str | None:
    """Return the remote branch's newest commit, fetched with its history; None if there is no such branch."""
    if not git.run("ls-remote", "--heads", "origin", f"refs/heads/{branch}", environment=environment):
        return None
    git.run("fetch", "--quiet", "origin", f"refs/heads/{branch}", environment=environment)
    return git.run("rev-parse", "FETCH_HEAD", environment=environment)


def commit_file(parent: str, path: Path, content: str, message: str, environment: Mapping[str, str]) -> str:
    """Return a new commit on `parent`, on no branch yet, in which `path` holds `content`; this repository has it."""
    event = current()
    prefix = git.run("rev-parse", "--show-prefix", environment=environment)  # files are named from the top
    if event.name:
        tree = git.run("rev-parse", f"{parent}^{{tree}}", environment=environment)
        new = commit(str(event.repository), parent, tree, f"{prefix}{path}", content, message)
        git.run("fetch", "--quiet", "origin", new, environment=environment)
        return new
    with tempfile.TemporaryDirectory() as folder:
        index = {**environment, "GIT_INDEX_FILE": f"{folder}/index"}
        blob = git.run("hash-object", "-w", "--stdin", environment=index, text=content)
        git.run("read-tree", parent, environment=index)
        git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{prefix}{path}", environment=index)
        tree = git.run("write-tree", environment=index)
        return git.run("commit-tree", tree, "-p", parent, "-m", message, environment=index)


def move_branch(
    branch: str, tip: str, before: str | None, environment: Mapping[str, str], retire: Callable[[], None]
) -> None:
    """Move a branch that only this engine writes from the commit `before` to `tip`; `before` is None if it is new.

    GitHub lets a token without the right to workflows create a branch, but not move one between two commits whose
    workflow files differ, be it by a push, a merge or the API. Then the branch is deleted and created anew. As that
    closes its pull request, `retire` is called before. Raise `UserError` if somebody else moved the branch.
    """
    ref = f"refs/heads/{branch}"
    try:
        # The lease refuses the push if another run wrote to the branch meanwhile.
        lease = f"--force-with-lease={ref}:{before or ''}"
        git.run("push", "--quiet", lease, "origin", f"{tip}:{ref}", environment=environment)
    except UserError as error:
        if before is None or "workflow" not in str(error):
            raise
        retire()
        git.run("push", "--quiet", f"--force-with-lease={ref}:{before}", "origin", f":{ref}", environment=environment)
        git.run("push", "--quiet", f"--force-with-lease={ref}:", "origin", f"{tip}:{ref}", environment=environment)


def fitted(text: str) -> str:
    """Return Markdown cut to the size of an issue or a pull request: charts are left out first, then the last lines."""
    while len(text.encode()) > LIMIT and "```mermaid" in text:
        start = text.rindex("```mermaid")
        end = text.index("```", start + 3) + 3
        text = text[:start] + text[end:]
    if len(text.encode()) <= LIMIT:
        return text
    kept = "".join(within(LIMIT, text.splitlines(keepends=True)))
    return f"{kept}\n\nThe rest is left out here: it is longer than GitHub takes.\n"


def known_pulls(repository: str, branch: str) -> list[Pull]:
    """Return all pull requests of a branch of this repository, open and closed, newest first."""
    owner = repository.partition("/")[0]
    pulls: list[Pull] = api(f"repos/{repository}/pulls?state=all&head={owner}:{branch}&per_page=100")
    return sorted(pulls, key=lambda pull: pull["number"], reverse=True)


def open_pull(pulls: Sequence[Pull]) -> Pull | None:
    """Return the open pull request; None if all are closed."""
    return next((pull for pull in pulls if pull["state"] == "open"), None)


def decided_pulls(pulls: Sequence[Pull]) -> list[Pull]:
    """Return the pull requests that were not replaced: if one of them is closed, a person decided so."""
    return [pull for pull in pulls if not _is_replaced(pull)]


def retire_pull(repository: str, pulls: Sequence[Pull]) -> None:
    """Close the open pull request as replaced, before its branch is deleted; the next run opens the new one."""
    pull = open_pull(pulls)
    if pull is None:
        return
    why = (
        "> **Replaced.** The workflow files of the default branch changed, and GitHub lets no job move this branch "
        "across such a change. A new pull request of the same branch continues this one."
    )
    body = {"body": f"{REPLACED}\n{why}\n\n{pull['body'] or ''}", "state": "closed"}
    api(f"repos/{repository}/pulls/{pull['number']}", method="PATCH", body=body)


def offer_pull(repository: str, branch: str, base: str, title: str, body: str) -> tuple[int, bool]:
    """Open or update the pull request of a branch; return its number, and whether it is new."""
    pulls = known_pulls(repository, branch)
    pull = open_pull(pulls)
    last_closed = next((each for each in pulls if each["state"] != "open"), None)
    replaced = last_closed if last_closed and _is_replaced(last_closed) else None
    if replaced:
        body = f"Continues #{replaced['number']}.\n\n{body}"
    at = f"repos/{repository}/pulls"
    if pull:
        api(f"{at}/{pull['number']}", method="PATCH", body={"title": title, "body": body})
        return int(pull["number"]), False
    opened = api(at, method="POST", body={"title": title, "body": body, "head": branch, "base": base})
    if replaced:
        comment = {"body": f"Continued in #{opened['number']}."}
        api(f"repos/{repository}/issues/{replaced['number']}/comments", method="POST", body=comment)
    return int(opened["number"]), True


def _is_replaced(pull: Pull) -> bool:
    return (pull["body"] or "").startswith(REPLACED)
