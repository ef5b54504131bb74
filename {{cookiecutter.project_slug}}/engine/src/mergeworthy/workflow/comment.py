"""The report on the pull request: by CML, or by `gh`, or in the summary of the job."""

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
from ..paths import REPORT
from ..process import Deadline, call
from ..render import within
from ..report.sections import MARKER
from ..text import annotation, say

# DOC ci.comment: Put the report where it is read: one comment on the pull request, kept up to date, and the job's
# summary. CML sends it where `cml` is there; where it is missing or fails, `gh` does; where both fail, the summary
# has it and the job warns. Nothing is uploaded to a third party: CML is told not to publish, and the report names no
# picture.

TITLE = "pipeline report"
WATERMARK = f"CML watermark {TITLE}"  # how CML knows its own; the same in every workflow, as the comment is
CML_LOOKS_THROUGH = 30  # comments: the first page, the oldest
LONG = 300  # characters of a reason

Comment = dict[str, Any]


def run() -> None:
    """Send `reports/report.md`; a report that cannot be sent never turns a verdict."""
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


# DOC ci.failure: Where no model came to be judged, the pull request still learns why: the failed jobs' own words, in
# the comment.

LIMIT = 50_000  # bytes of them all; GitHub refuses a comment of more than 65,536 characters
MOST = 2_000  # characters of one error
DEPENDABOT = "dependabot[bot]"
STORE = (
    "This run is Dependabot's, which reads secrets of its own alone: what a training needs (`DVC_CONFIG`) belongs "
    "under Settings → Secrets and variables → Dependabot as well."
)


def post_failure(event: Event) -> None:
    """Put what the failed jobs of this run said in the report's place, and send it as the report is sent."""
    try:
        failures = github.failures(event)
    except UserError as error:
        failures = {"GitHub": [str(error)]}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(compose_failure(event, failures))
    run()


def compose_failure(event: Event, failures: dict[str, list[str]]) -> str:
    """Give the Markdown; what jobs said stands in code blocks, so that none of it is read as Markdown."""
    number = os.environ["GITHUB_RUN_ID"]
    run = f"[run {number}]({event.server}/{event.repository}/actions/runs/{number})"
    head = f"{MARKER}\n## ⛔ No model was judged"
    foot = f"<sub>Commit `{event.commit[:12]}` · the whole log is in {run}</sub>"
    hint = [STORE] if os.environ.get("GITHUB_ACTOR") == DEPENDABOT else []
    return "\n\n".join([head, *failure_of(failures), *hint, foot]) + "\n"


def failure_of(failures: dict[str, list[str]]) -> list[str]:
    """Give a paragraph for each failed job, with its own words."""
    share = LIMIT // max(len(failures), 1)
    return [
        "\n\n".join([f"**{name}** failed:", *within(share, map(_block, errors or ["it left no word why"]))])
        for name, errors in failures.items()
    ]


def _block(text: str) -> str:
    return "\n".join(f"    {line}" for line in text[:MOST].splitlines())


# DOC ci.cml: `make cml`: the program that sends the report, used only if it is the very file that this repository
# recorded. GitHub keeps no digest of release files as old as CML's (October 2024), and a tag can be moved. So the
# digest is the project's own: `make cml RECORD=1` writes it to `.github/cml.sha256` once, a reviewer approves that
# line, and from then on another file is refused. Before that CML is left out, and `gh` sends the report.

VERSION = "v0.20.6"
PROGRAM = Path(".tools/bin/cml")
DIGESTS = Path(".github/cml.sha256")


def install_cml() -> None:
    """Install CML, unless a `cml` of the machine's own is there, and say in a line what came of it."""
    if shutil.which("cml") and not PROGRAM.exists():
        say("this machine's own cml sends the report")
        return
    say(install(record=bool(os.environ.get("RECORD"))))


def install(*, record: bool = False) -> str:
    """Download CML for this machine and keep it if its SHA-256 is the recorded one; with `record`, record it first.

    Raise `UserError` if another digest is recorded: nothing is kept then.
    """
    name = f"cml-{_system()}"
    wanted = _recorded().get(name)
    if wanted is None and not record:
        PROGRAM.unlink(missing_ok=True)
        return f"gh sends the report: {DIGESTS} records no digest of {name} {VERSION}, `make cml RECORD=1` does"
    if not PROGRAM.exists() or _sha256(PROGRAM) != wanted:
        part = PROGRAM.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        _download(name, part)
        found = _sha256(part)
        if wanted and found != wanted:
            part.unlink()
            raise UserError(
                f"{name} {VERSION} is not the file that {DIGESTS} records (SHA-256 {found}, expected {wanted}): do not "
                "use it; if a reviewer trusts the new one, delete that line and run `make cml RECORD=1`"
            )
        part.chmod(0o755)
        part.replace(PROGRAM)
    if wanted is None:
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


def _download(name: str, to: Path) -> None:
    where = ["--repo", "iterative/cml", "--pattern", name, "--output", str(to), "--clobber"]
    try:
        done = call(["gh", "release", "download", VERSION, *where], f"GitHub ({name})", Deadline.EXCHANGE)
    except FileNotFoundError:
        raise UserError("gh is not installed, and nothing else downloads cml: see infra/runner/README.md") from None
    if done.returncode:
        raise UserError(f"{name} {VERSION} cannot be downloaded: {done.stderr.strip()}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
