"""The report on the pull request: one comment, kept up to date, and the job's summary.

CML sends the comment if `cml` is installed; if it is missing or fails, `gh` does. If both fail, the summary has the
report and the job warns. Nothing is uploaded to a third party: CML publishes nothing, and the report links no picture.
"""

import hashlib
import json
import os
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

from .. import files
from ..adapters import actions, github
from ..adapters.actions import Event, current
from ..errors import UserError
from ..files import REPORT
from ..process import Deadline, call
from ..report import MARKER
from ..text import annotation, say, within

TITLE = "pipeline report"
WATERMARK = f"CML watermark {TITLE}"  # how CML recognizes its comment; the same in every workflow, like the comment
CML_COMMENTS = 30  # comments that CML searches: the first page, the oldest
MAX_REASON = 300  # characters

# The comment after a failure
MAX_FAILURES = 50_000  # bytes of all failures; GitHub refuses a comment of more than 65,536 characters
MAX_ERROR = 2_000  # characters of one error
DEPENDABOT = "dependabot[bot]"
DEPENDABOT_HINT = (
    "This run is Dependabot's, which reads secrets of its own alone: what a training needs (`DVC_CONFIG`) belongs "
    "under Settings → Secrets and variables → Dependabot as well."
)

# The program `cml`
VERSION = "v0.20.6"
PROGRAM = Path(".tools/bin/cml")
DIGESTS = Path(".github/cml.sha256")

Comment = dict[str, Any]


def run() -> None:
    """Send `reports/report.md`; a report that cannot be sent is a warning and does not change the verdict."""
    event, report = current(), _report()
    summarised = actions.summarise(report)
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
    """Create or update our comment, however many others there are; raise `UserError` if GitHub refuses."""
    try:
        comments = _comments(event)
    except github.MissingError:  # without gh CML has to find our comment by itself
        if _with_cml(event):
            return
        raise
    if our_comment(comments) == cml_comment(comments):
        if _with_cml(event):
            return
        comments = _comments(event)  # CML may have failed after it posted
    _with_gh(event, report, our_comment(comments))


def our_comment(comments: list[Comment]) -> Comment | None:
    """Return our newest comment; None if there is none. A comment by an outsider is never ours, whatever its text."""
    matching = [comment for comment in comments if comment["body"].startswith(MARKER) and _by_us(comment)]
    return matching[-1] if matching else None


def cml_comment(comments: list[Comment]) -> Comment | None:
    """Return the comment that CML would update; None if CML would create one."""
    matching = [comment for comment in comments[:CML_COMMENTS] if WATERMARK in comment["body"]]
    return matching[-1] if matching else None


def _report() -> str:
    return files.read_text(REPORT, "run `make report`")


def _comments(event: Event) -> list[Comment]:
    """Return all comments of the pull request, oldest first."""
    path = f"repos/{event.repository}/issues/{event.pull_request}/comments?per_page=100"
    return github.api(path, paginate=True) or []


def _by_us(comment: Comment) -> bool:
    """Return if the author is a bot, as with a workflow's token, or a person who may write to the repository."""
    bot = (comment.get("user") or {}).get("type") == "Bot"
    return bot or comment.get("author_association") in ("OWNER", "MEMBER", "COLLABORATOR")


def _with_cml(event: Event) -> bool:
    """Let CML create or update its comment; return False if CML is missing or fails."""
    token = os.environ.get("GH_TOKEN")
    if not token:
        return False
    command = ["cml", "comment", "update", f"--target=pr/{event.pull_request}", "--no-publish"]
    # CML writes `safe.directory=*` into the global git configuration: a temporary home keeps it out of the real one.
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "ITERATIVE_DO_NOT_TRACK": "1", "REPO_TOKEN": token}
        try:
            whole = [*command, f"--watermark-title={TITLE}", str(REPORT)]
            done = call(whole, "CML", Deadline.ANSWER, environment=environment)
        except FileNotFoundError:
            return False
        except (OSError, UserError) as error:
            _warn(f"cml did not send the report ({error}), so gh sends it")
            return False
    if done.returncode:
        _warn(f"cml did not send the report (exit code {done.returncode}, {_reason(done.stderr)}), so gh sends it")
    return done.returncode == 0


def _reason(stderr: str) -> str:
    """Return CML's last line, shortened; of JSON, which may hold the whole request, only name, status and message."""
    last = (stderr.strip().splitlines() or ["no reason given"])[-1]
    try:
        content = json.loads(last)
    except ValueError:
        content = None
    if isinstance(content, dict):
        parts = [str(content[key]) for key in ("name", "status", "message") if content.get(key)]
        last = " ".join(parts) or "no reason given"
    return last if len(last) <= MAX_REASON else f"{last[:MAX_REASON]}…"


def _with_gh(event: Event, report: str, comment: Comment | None) -> None:
    """Create or update through the API; CML's watermark stays, so that CML finds the comment next time."""
    watermark = [line for line in (comment or {"body": ""})["body"].splitlines() if WATERMARK in line]
    body = {"body": "\n\n".join([report, *watermark])}
    if comment is None:
        github.api(f"repos/{event.repository}/issues/{event.pull_request}/comments", method="POST", body=body)
    else:
        github.api(f"repos/{event.repository}/issues/comments/{comment['id']}", method="PATCH", body=body)


def _warn(text: str) -> None:
    """Print an annotation of the run, without the token, which programs may repeat in their errors."""
    token = os.environ.get("GH_TOKEN")
    print(annotation("warning", text.replace(token, "***") if token else text))


def post_failure(event: Event) -> None:
    """Write the errors of the failed jobs of this run in the report's place, and send them as the report is sent."""
    try:
        failures = github.failures(event)
    except UserError as error:
        failures = {"GitHub": [str(error)]}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(compose_failure(event, failures))
    run()


def compose_failure(event: Event, failures: dict[str, list[str]]) -> str:
    """Return the Markdown; the errors of jobs are in code blocks, so that none of them is read as Markdown."""
    number = os.environ["GITHUB_RUN_ID"]
    link = f"[run {number}]({event.server}/{event.repository}/actions/runs/{number})"
    head = f"{MARKER}\n## ⛔ No model was judged"
    hint = [DEPENDABOT_HINT] if os.environ.get("GITHUB_ACTOR") == DEPENDABOT else []
    next_step = "**Next**: Correct what the errors name, and push; if a machine or network failed, run the jobs again."
    foot = f"<sub>commit {event.commit_link(event.commit)} · the whole log is in {link}</sub>"
    return "\n\n".join([head, next_step, *describe_failures(failures), *hint, foot]) + "\n"


def describe_failures(failures: dict[str, list[str]]) -> list[str]:
    """Return a paragraph for each failed job, with its errors; all jobs share the room of one comment."""
    share = MAX_FAILURES // max(len(failures), 1)
    return [
        "\n\n".join([f"**{name}** failed:", *within(share, map(_code_block, errors or ["it left no error message"]))])
        for name, errors in failures.items()
    ]


def _code_block(text: str) -> str:
    return "\n".join(f"    {line}" for line in text[:MAX_ERROR].splitlines())


def install_cml() -> None:
    """Install CML, unless this machine has a `cml` of its own, and print the result."""
    if shutil.which("cml") and not PROGRAM.exists():
        say("this machine's own cml sends the report")
        return
    say(install(record=bool(os.environ.get("RECORD"))))


def install(*, record: bool = False) -> str:
    """Download CML for this machine and keep it if its SHA-256 is the recorded one; with `record`, record it first.

    GitHub keeps no digest of release files as old as CML's (October 2024), and a tag can be moved. So the digest is
    the project's own: recorded once in `.github/cml.sha256`, approved by a reviewer, and from then on any other file
    is refused. Without a recorded digest CML is not used.

    Raises `UserError` if another digest is recorded; the file is not kept then.
    """
    name = f"cml-{_system()}"
    expected = _recorded().get(name)
    if expected is None and not record:
        PROGRAM.unlink(missing_ok=True)
        return f"gh sends the report: {DIGESTS} records no digest of {name} {VERSION}; `make cml RECORD=1` records it"
    if not PROGRAM.exists() or _sha256(PROGRAM) != expected:
        part = PROGRAM.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        _download(name, part)
        digest = _sha256(part)
        if expected and digest != expected:
            part.unlink()
            raise UserError(
                f"{name} {VERSION} is not the file that {DIGESTS} records (SHA-256 {digest}, expected {expected}): do "
                "not use it; if a reviewer trusts the new one, delete that line and run `make cml RECORD=1`"
            )
        part.chmod(0o755)
        part.replace(PROGRAM)
    if expected is None:
        with DIGESTS.open("a") as file:
            file.write(f"{_sha256(PROGRAM)}  {name}\n")
        return f"recorded the digest of {name} {VERSION} in {DIGESTS}: compare it with a colleague's, and commit it"
    return f"cml {VERSION} is the recorded file"


def _recorded() -> dict[str, str]:
    """Return file name → SHA-256, as `sha256sum` writes them."""
    lines = files.read_text(DIGESTS, "restore it from git").splitlines() if DIGESTS.exists() else []
    entries = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    if any(len(entry) != 2 for entry in entries):
        raise UserError(f"{DIGESTS} must hold lines of `<SHA-256>  <file>`: restore it from git")
    return {name: digest for digest, name in entries}


def _system() -> str:
    system = "macos" if platform.system() == "Darwin" else "linux"
    return f"{system}-{'x64' if platform.machine() == 'x86_64' else 'arm64'}"


def _download(name: str, path: Path) -> None:
    options = ["--repo", "iterative/cml", "--pattern", name, "--output", str(path), "--clobber"]
    try:
        done = call(["gh", "release", "download", VERSION, *options], f"GitHub ({name})", Deadline.EXCHANGE)
    except FileNotFoundError:
        raise UserError("gh is not installed, and nothing else downloads cml: see infra/runner/README.md") from None
    if done.returncode:
        raise UserError(f"{name} {VERSION} cannot be downloaded: {done.stderr.strip()}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
