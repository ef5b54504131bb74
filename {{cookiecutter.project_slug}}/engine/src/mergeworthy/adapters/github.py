"""GitHub through `gh`: its API, and the branches and pull requests that only verbs write."""

import base64
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..process import SILENCE, Deadline, call
from ..render import within
from .actions import Event, current
from .git import BOT

# DOC adapters.github: GitHub through `gh`, which reads its token from the environment; every write can be repeated
# with the same result.


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


# DOC adapters.branch: A commit of one file on top of a branch of the remote, made without touching the checkout. In
# CI GitHub makes the commit and signs it, so that a branch whose rules require signed commits takes it.


def credentials(event: Event) -> dict[str, str]:
    """Return the environment of git: in CI the job's token and the bot's name; on a laptop nothing, git has its own."""
    return git_credentials(event) | BOT if event.name else {}


def fetch_branch(branch: str, environment: Mapping[str, str]) -> str | None:
    """Return the remote branch's newest commit, fetched with its history; None if there is no such branch."""
    if not run_git("ls-remote", "--heads", "origin", f"refs/heads/{branch}", environment=environment):
        return None
    run_git("fetch", "--quiet", "origin", f"refs/heads/{branch}", environment=environment)
    return run_git("rev-parse", "FETCH_HEAD", environment=environment)


def commit_file(parent: str, path: Path, content: str, message: str, environment: Mapping[str, str]) -> str:
    """Return a new commit on `parent`, on no branch yet, in which `path` holds `content`; this repository has it."""
    event = current()
    prefix = run_git("rev-parse", "--show-prefix", environment=environment)  # files are named from the top
    if event.name:
        tree = run_git("rev-parse", f"{parent}^{{tree}}", environment=environment)
        made = commit(str(event.repository), parent, tree, f"{prefix}{path}", content, message)
        run_git("fetch", "--quiet", "origin", made, environment=environment)
        return made
    with tempfile.TemporaryDirectory() as folder:
        index = {**environment, "GIT_INDEX_FILE": f"{folder}/index"}
        blob = run_git("hash-object", "-w", "--stdin", environment=index, text=content)
        run_git("read-tree", parent, environment=index)
        run_git("update-index", "--add", "--cacheinfo", f"100644,{blob},{prefix}{path}", environment=index)
        tree = run_git("write-tree", environment=index)
        return run_git("commit-tree", tree, "-p", parent, "-m", message, environment=index)


def move_branch(
    branch: str, tip: str, there: str | None, environment: Mapping[str, str], retire: Callable[[], None]
) -> None:
    """Point a branch that only verbs write at `tip`; `there` is where it was, None if it is new.

    GitHub lets no token without the right to workflows move a branch between two commits whose workflow files differ,
    be it by a push, a merge or the API, but lets it create one. Then `retire` is called, for the pull request that
    goes with its branch, and the branch is deleted and created anew. Raise `UserError` if somebody else moved it.
    """
    ref = f"refs/heads/{branch}"
    try:
        # The lease keeps what another run wrote meanwhile.
        lease = f"--force-with-lease={ref}:{there or ''}"
        run_git("push", "--quiet", lease, "origin", f"{tip}:{ref}", environment=environment)
    except UserError as error:
        if there is None or "workflow" not in str(error):
            raise
        retire()
        run_git("push", "--quiet", f"--force-with-lease={ref}:{there}", "origin", f":{ref}", environment=environment)
        run_git("push", "--quiet", f"--force-with-lease={ref}:", "origin", f"{tip}:{ref}", environment=environment)


def run_git(*words: str, environment: Mapping[str, str], text: str | None = None) -> str:
    """Return what git prints; raise `UserError` with its reason if it fails."""
    deadline = Deadline.ANSWER if words[0] == "ls-remote" else Deadline.EXCHANGE
    done = call(
        ["git", *words], f"origin (git {words[0]})", deadline, text=text, environment={**SILENCE, **environment}
    )
    if done.returncode:
        raise UserError(f"git {words[0]} failed: {' '.join(done.stderr.split()) or 'no reason'}")
    return done.stdout.strip()


# DOC adapters.proposal: The one pull request of a branch that only verbs write: opened, updated in place, replaced if
# its branch has to be. GitHub lets no job's token move a branch between two commits whose workflow files differ
# (`release.commit.move`). The branch is then deleted and created anew, which closes its pull request: a new one
# continues it, and both say so.

LIMIT = 60_000  # bytes of text in an issue or a pull request; GitHub refuses more than 65,536 characters
REPLACED = "<!-- replaced by the next one of this branch -->"  # so that its end is not read as a person's decision

Pull = dict[str, Any]


def fitted(text: str) -> str:
    """Return Markdown that fits into an issue or a pull request: pictures go first, then the last lines."""
    while len(text.encode()) > LIMIT and "```mermaid" in text:
        start = text.rindex("```mermaid")
        end = text.index("```", start + 3) + 3
        text = text[:start] + text[end:]
    if len(text.encode()) <= LIMIT:
        return text
    kept = "".join(within(LIMIT, text.splitlines(keepends=True)))
    return f"{kept}\n\nThe rest is left out here: it is longer than GitHub takes.\n"


def known_pulls(repository: str, branch: str) -> list[Pull]:
    """Return the pull requests that there ever were of a branch of this repository, newest first."""
    owner = repository.partition("/")[0]
    found: list[Pull] = api(f"repos/{repository}/pulls?state=all&head={owner}:{branch}&per_page=100")
    return sorted(found, key=lambda pull: pull["number"], reverse=True)


def open_pull(pulls: Sequence[Pull]) -> Pull | None:
    """Return the open one."""
    return next((pull for pull in pulls if pull["state"] == "open"), None)


def decided_pulls(pulls: Sequence[Pull]) -> list[Pull]:
    """Return those that were not replaced: what a person did to one of them is a decision."""
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
    """Open the pull request of a branch, or bring title and text up to date; return its number, and if it is new."""
    pulls = known_pulls(repository, branch)
    current = open_pull(pulls)
    before = next((pull for pull in pulls if pull["state"] != "open"), None)
    if before and _is_replaced(before):
        body = f"Continues #{before['number']}.\n\n{body}"
    at = f"repos/{repository}/pulls"
    if current:
        api(f"{at}/{current['number']}", method="PATCH", body={"title": title, "body": body})
        return int(current["number"]), False
    made = api(at, method="POST", body={"title": title, "body": body, "head": branch, "base": base})
    if before and _is_replaced(before):
        comment = {"body": f"Continued in #{made['number']}."}
        api(f"repos/{repository}/issues/{before['number']}/comments", method="POST", body=comment)
    return int(made["number"]), True


def _is_replaced(pull: Pull) -> bool:
    return (pull["body"] or "").startswith(REPLACED)
