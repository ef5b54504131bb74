"""`make doctor`: what is wrong with this machine, the DVC remote, the tracking server or GitHub, and how to fix it.

The functions of EXAMINATIONS collect facts, each within a few seconds, and other public functions judge them. What the
repository on GitHub should be stands in .github/settings.yaml alone, and `github_settings` compares it. `gh api` brings
the token itself: none is read, held or printed here.
"""

import importlib.util
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from .. import config as settings
from .. import patches
from ..adapters import dvc_probe
from ..adapters.git import origin
from ..adapters.github import Answer, ask
from ..adapters.mlflow import reach
from ..config import REPOSITORY
from ..errors import UserError
from ..process import Deadline, SilentError, call, shown
from ..text import logged
from . import github_settings
from .github_settings import Part
from .github_settings import shown as setting

TOOLS = {"git": "the record of everything", "uv": "makes the environment", "gh": "speaks to GitHub"}
OPTIONAL_TOOL = "gh"

# Every driver from this one on supports a major version of CUDA (NVIDIA, CUDA Compatibility, minor version).
OLDEST_DRIVER = {11: "450.80", 12: "525.60", 13: "580.65"}

ENOUGH_GB, MIN_GB = 20, 2  # torch with CUDA takes 5 GB, a month of data and its cache far less

INSTALLED = Path("/opt/actions-runner/current")  # a link that is named as the version, on a machine with the kit
VARIABLES = ("GPU_RUNNER", "CPU_RUNNER")
SET_VARIABLE = """gh variable set {name} --body '["self-hosted","linux","x64","gpu"]', or `gh variable delete {name}`"""
GRACE = timedelta(days=30)  # GitHub gives a runner no more jobs this long after a newer release
SOON = timedelta(days=7)


class Level(StrEnum):
    """The mark at the head of a line; only a problem makes `make doctor` fail."""

    OK = "✓"
    WARNING = "!"
    PROBLEM = "✗"
    SKIPPED = "-"


@dataclass(frozen=True)
class Finding:
    """The result of one check; `remedy` is empty if there is nothing to fix."""

    level: Level
    topic: str
    says: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return the line of the finding and, indented below it, the remedy."""
        line = logged(f"{self.level} {self.topic}: {self.says}")
        return f"{line}\n    {logged(self.remedy)}" if self.remedy else line


def ok(topic: str, says: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(Level.OK, topic, says)


def warning(topic: str, says: str, remedy: str) -> Finding:
    """Return a finding on something that works with limits, or that could not be checked."""
    return Finding(Level.WARNING, topic, says, remedy)


def problem(topic: str, says: str, remedy: str) -> Finding:
    """Return a finding on something that cannot work."""
    return Finding(Level.PROBLEM, topic, says, remedy)


def skipped(topic: str, reason: str) -> Finding:
    """Return a finding on something that was not checked."""
    return Finding(Level.SKIPPED, topic, f"skipped: {reason}")


def run() -> int:
    """Print each finding as soon as it is there; return 1 if there is a problem, else 0."""
    counts: Counter[Level] = Counter()
    for examine in EXAMINATIONS:
        for finding in examine():
            print(finding, flush=True)
            counts[finding.level] += 1
    print(f"\nto fix: {counts[Level.PROBLEM]}, warnings: {counts[Level.WARNING]}")
    return 1 if counts[Level.PROBLEM] else 0


def machine() -> Iterator[Finding]:
    """Check tools, disk, GPU, Ray, and if infra.yaml can be read."""
    yield tools([name for name in TOOLS if shutil.which(name)])
    yield disk(shutil.disk_usage(".").free / 1e9)
    try:
        device = settings.infra().compute.device
    except UserError as error:
        yield problem("infra.yaml", str(error), "fix the file")
        return
    yield gpu(driver(), *torch_build(), device)
    yield from cluster()


def engine() -> Iterator[Finding]:
    """Check if files of the engine were changed here."""
    changed = patches.changed()
    says = patches.sentence(changed)
    if changed:
        remedy = "an update may conflict with them: offer the change to the template if others need it"
        yield warning("engine", says, remedy)
    else:
        yield ok("engine", says)


def cluster() -> Iterator[Finding]:
    """Check if the Ray cluster answers that infra.yaml names, if any."""
    ray = settings.infra().ray
    if ray is None:
        return
    from .clusters import check_connection  # takes a second, which a project without a cluster saves

    try:
        check_connection(ray.head)
    except UserError as error:
        yield problem("Ray", str(error), "start the cluster, or leave `ray` out of infra.yaml")
    else:
        yield ok("Ray", f"{ray.head} answers")


def storage() -> Iterator[Finding]:
    """Check the DVC remote, in a process of its own: nothing that a library waits for can block the doctor."""
    seconds = Deadline.GLANCE.seconds  # for the network; starting DVC is slow on a cold disk
    # The probe runs as a file alone: the imports of this package take longer than DVC's.
    command = [sys.executable, "-P", dvc_probe.__file__, str(seconds)]
    try:
        done = call(command, "DVC", Deadline.ANSWER)
    except SilentError as error:
        yield remote("the default remote", str(error), local=False, shared=False)
        return
    answer = {"url": "the default remote", "error": f"no answer within {seconds:g} s", "local": False}
    for line in done.stdout.splitlines():  # the probe may be stopped between its lines
        answer |= json.loads(line)
    shared = origin() is not None
    yield remote(shown(str(answer["url"])), _first_line(answer["error"]), local=bool(answer["local"]), shared=shared)


def tracking() -> Iterator[Finding]:
    """Check if the tracking server answers."""
    try:
        server = settings.infra().tracking
    except UserError:
        return  # `machine` reports it
    try:
        reach(server.address, server.experiment)
    except UserError as error:
        level = problem if server.required else warning
        yield level("tracking", str(error), "start the server (`make mlflow`) or set tracking.uri in infra.yaml")
    else:
        yield ok("tracking", f"{shown(server.address)} records runs")


def tools(present: Collection[str]) -> Finding:
    """Judge which of git, uv and gh are on the PATH."""
    missing = [name for name in TOOLS if name not in present]
    if not missing:
        return ok("tools", f"{', '.join(TOOLS)} are installed")
    level = warning if missing == [OPTIONAL_TOOL] else problem
    says = "; ".join(f"{name} is missing ({TOOLS[name]})" for name in missing)
    return level("tools", says, "install: git-scm.com, docs.astral.sh/uv, cli.github.com")


def disk(free_gb: float) -> Finding:
    """Judge if there is room for an environment and a training's outputs."""
    says = f"{free_gb:.0f} GB free here"
    if free_gb >= ENOUGH_GB:
        return ok("disk", says)
    remedy = f"{ENOUGH_GB} GB are comfortable: `dvc gc --workspace`, `uv cache prune`"
    return (warning if free_gb >= MIN_GB else problem)("disk", says, remedy)


def gpu(driver: str | None, torch: str | None, cuda: str | None, device: str) -> Finding:
    """Judge if torch can use the GPU.

    `driver` and `torch` are versions, None if missing; `cuda` is the version that torch was built for, None for a
    build without CUDA; `device` is what infra.yaml requests.
    """
    if torch is None:
        return skipped("GPU", "torch is not installed here")
    if driver is None:
        if device == "cuda":
            remedy = "install NVIDIA's driver, or set compute.device to auto in infra.yaml"
            return problem("GPU", "infra.yaml requests cuda, but no NVIDIA driver answers here", remedy)
        return ok("GPU", f"none here: torch {torch} trains on the processor")
    if cuda is None:
        says = f"driver {driver} is installed, but torch {torch} was built without CUDA"
        return warning("GPU", says, "run `make setup`")
    oldest = OLDEST_DRIVER.get(int(cuda.split(".")[0]))
    if oldest is None:
        return ok("GPU", f"driver {driver}, torch {torch} for CUDA {cuda}")
    if _major_minor(driver) < _major_minor(oldest):
        remedy = f"update the driver to {oldest} or later, or install a torch for an older CUDA"
        return problem("GPU", f"driver {driver} is too old for CUDA {cuda}, which torch {torch} was built for", remedy)
    return ok("GPU", f"driver {driver} supports CUDA {cuda}, which torch {torch} was built for")


def remote(url: str, error: str | None, *, local: bool, shared: bool) -> Finding:
    """Judge if the DVC remote stored, returned and deleted an object; `shared`: others work on this project."""
    if error:
        remedy = "check core.remote in .dvc/config and its credentials in .dvc/config.local (secret DVC_CONFIG in CI)"
        return problem("DVC remote", f"{url}: {error}", remedy)
    if local and shared:
        remedy = "CI's jobs exchange outputs through it: `dvc remote modify storage url s3://…`, or DVC_CONFIG"
        says = f"{url} works, but it is a folder of this machine, which no other machine can read"
        return warning("DVC remote", says, remedy)
    return ok("DVC remote", f"{url}: wrote, read and deleted an object")


def driver() -> str | None:
    """Return the version of NVIDIA's driver; None if no driver answers."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = call(command, "nvidia-smi", Deadline.GLANCE)
    except (FileNotFoundError, SilentError):
        return None
    version = re.match(r"\d+(\.\d+)+", done.stdout)
    return version[0] if version and done.returncode == 0 else None


def torch_build() -> tuple[str | None, str | None]:
    """Return torch's version and the CUDA it was built for, from its files: importing torch takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None, None
    text = Path(spec.origin).with_name("version.py").read_text()
    values = dict(re.findall(r"^(__version__|cuda)\b.*?= '(.*)'", text, re.MULTILINE))
    return values.get("__version__"), values.get("cuda")


def _major_minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _first_line(error: object) -> str | None:
    return shown(str(error).strip().splitlines()[0])[:200] if error else None


def github() -> Iterator[Finding]:
    """Check repository, runners, token and settings; or say why GitHub was not asked."""
    location = origin()
    if location is None:
        yield skipped("GitHub", "no GitHub remote yet")
        return
    if not shutil.which("gh"):
        yield skipped("GitHub", "gh is not installed")
        return
    host, name = location
    repository = ask(host, {"": f"repos/{name}"})[""]
    yield repository_finding(name, repository, host)
    if repository.ok:
        yield from _settings(host, name, repository)


def _settings(host: str, name: str, repository: Answer) -> Iterator[Finding]:
    base = f"repos/{name}"
    paths = {variable: f"{base}/actions/variables/{variable}" for variable in VARIABLES} | {
        "runners": f"{base}/actions/runners?per_page=100",
        "owners": f"{base}/codeowners/errors",
        "pulls": f"{base}/pulls?per_page=1",
        "checks": f"{base}/commits/HEAD/check-runs?per_page=1",
    }
    if repository.body["owner"].get("type") == "Organization":
        paths["shared variables"] = f"{base}/actions/organization-variables?per_page=100"
        paths["shared runners"] = f"orgs/{repository.body['owner']['login']}/actions/runners?per_page=100"
    answers = ask(host, paths)

    for variable in VARIABLES:
        if answers[variable].status in (200, 404):
            yield variable_finding(variable, _value(variable, answers))
        else:
            yield unread(variable, answers[variable], "Variables: read")
    requested = labels(_value("GPU_RUNNER", answers) or "")
    if requested:
        yield from _runner(host, requested, answers)
    yield token(repository, answers["pulls"], answers["checks"])
    yield code_owners(answers["owners"])
    try:
        requested_settings = settings.repository()
    except UserError as error:
        yield problem("settings", str(error), "fix the file")
        return
    if not repository.body.get("permissions", {}).get("admin"):
        says = "only an administrator may read if the repository is what .github/settings.yaml says"
        yield warning("settings", says, "ask one to run `make github CHECK=1`")
        return
    yield from settings_findings(
        list(
            github_settings.parts_of(github_settings.read(host, name, repository, requested_settings, Deadline.GLANCE))
        )
    )


def _value(variable: str, answers: dict[str, Answer]) -> str | None:
    """Return the repository's variable, or else its organisation's."""
    if answers[variable].ok:
        return str(answers[variable].body["value"])
    shared = answers.get("shared variables", Answer(404))
    values = {entry["name"]: str(entry["value"]) for entry in shared.body["variables"]} if shared.ok else {}
    return values.get(variable)


def _runner(host: str, requested: list[str], answers: dict[str, Answer]) -> Iterator[Finding]:
    own, shared = answers["runners"], answers.get("shared runners")
    if not own.ok:
        yield unread("runner", own, "Administration: read")
        return
    runners: list[dict[str, Any]] = [*own.body["runners"], *(shared.body["runners"] if shared and shared.ok else [])]
    yield runner_available(requested, runners, complete=shared is None or shared.ok)

    versions = {runner["name"]: str(runner["version"]) for runner in runners if runner.get("version")}
    if INSTALLED.is_symlink():
        versions["this machine's runner"] = INSTALLED.readlink().name
    if not versions:
        yield skipped("runner age", "GitHub does not report versions; run `make doctor` on the runner's machine")
        return
    releases = ask(host, {"": "repos/actions/runner/releases?per_page=30"})[""]
    if releases.ok:
        published = {
            release["tag_name"].removeprefix("v"): datetime.fromisoformat(release["published_at"])
            for release in releases.body
        }
        yield runner_age(versions, published, datetime.now(UTC))
    else:
        yield skipped("runner age", f"{host} does not know the runner's releases")


def labels(value: str) -> list[str] | None:
    """Return the labels in a variable's value; None if the value is not a JSON list of labels."""
    try:
        content = json.loads(value)
    except ValueError:
        return None
    valid = isinstance(content, list) and content and all(isinstance(item, str) and item.strip() for item in content)
    return content if valid else None


def variable_finding(name: str, value: str | None) -> Finding:
    """Judge if workflows can read the variable. Unset is fine: jobs then run on GitHub's machines."""
    if value is None:
        return ok(name, "not set, so these jobs run on GitHub's own machines")
    if labels(value) is None:
        says = f"{value!r} is not a JSON list of labels, and every workflow that reads it fails"
        return problem(name, says, SET_VARIABLE.format(name=name))
    return ok(name, f"jobs ask for {', '.join(labels(value) or [])}")


def runner_available(requested: Sequence[str], runners: Sequence[Mapping[str, Any]], *, complete: bool) -> Finding:
    """Judge if a runner with every label is online; `complete`: `runners` has those of the organisation too."""
    names, lowered = ", ".join(requested), {label.lower() for label in requested}
    matching = [runner for runner in runners if lowered <= _labels(runner)]
    online = [runner["name"] for runner in matching if runner["status"] == "online"]
    if online:
        return ok("runner", f"{len(online)} online with the labels {names} ({', '.join(sorted(online)[:3])})")
    if matching:
        says = f"{matching[0]['name']} has the labels {names}, but is offline: jobs wait 24 hours for it"
        return problem("runner", says, "on its machine: systemctl status 'actions-runner@*' (infra/runner/README.md)")
    says = f"no runner has all of the labels {names}"
    if not complete:
        return warning("runner", f"{says}, and your token may not see the organisation's", "ask one of its owners")
    if "self-hosted" not in lowered:
        says = f"{says}; a scale set on Kubernetes shows none between jobs"
        return warning("runner", says, "kubectl get pods -n arc-runners")
    return problem("runner", f"{says}: jobs wait 24 hours for one", "set one up in ten minutes: infra/runner/README.md")


def _labels(runner: Mapping[str, Any]) -> set[str]:
    return {label["name"].lower() for label in runner["labels"]}


def runner_age(versions: Mapping[str, str], releases: Mapping[str, datetime], now: datetime) -> Finding:
    """Judge if every runner is new enough.

    `versions` maps runner → version, `releases` version → when it was published. The first release that a runner
    missed decides, not the newest.
    """
    deadline = now + GRACE
    for version in versions.values():
        newer = [published for release, published in releases.items() if _numbers(release) > _numbers(version)]
        deadline = min([deadline, *(published + GRACE for published in newer)])
    left = (deadline - now).days
    says = ", ".join(f"{runner} is version {version}" for runner, version in sorted(versions.items())[:3])
    remedy = "on its machine: systemctl start actions-runner-update"
    if left < 0:
        says = f"{says}, and gets no jobs: a newer one was released more than 30 days ago"
        return problem("runner age", says, remedy)
    if left <= SOON.days:
        return warning("runner age", f"{says}, and gets no more jobs in {left} days: a newer one was released", remedy)
    return ok("runner age", says)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def unread(topic: str, answer: Answer, needs: str) -> Finding:
    """Return the finding on an answer that is missing or refused; `needs` is the permission that it requires."""
    if answer.status == 0:
        return warning(topic, "GitHub did not answer within 5 s", "check the network and run it again")
    says = f"your token may not read this (HTTP {answer.status})"
    return warning(topic, says, f"needs {needs}; ask an administrator of the repository")


def repository_finding(name: str, answer: Answer, host: str) -> Finding:
    """Judge if gh is signed in and the repository exists."""
    if answer.ok:
        visibility = "private" if answer.body.get("private") else "public"
        return ok("repository", f"{name} on {host}, {visibility}")
    if answer.status == 401:
        says = f"gh is not signed in to {host}, so GitHub was not asked"
        return warning("repository", says, f"gh auth login --hostname {host}")
    if answer.status in (403, 404):
        says = f"{host} has no {name}, or your token may not see it"
        return problem("repository", says, "check `git remote get-url origin`; `gh auth status` says who you are")
    return unread("repository", answer, "Metadata: read")


def token(repository: Answer, pulls: Answer, checks: Answer) -> Finding:
    """Judge if your token may use contents, pull requests and checks, as far as GitHub says what a token may do."""
    missing = []
    if not repository.body.get("permissions", {}).get("push"):
        missing.append("contents: write")
    missing += [
        f"{name}: read"
        for name, answer in (("pull requests", pulls), ("checks", checks))
        if answer.status in (401, 403)
    ]
    scopes = {scope.strip() for scope in repository.headers.get("x-oauth-scopes", "").split(",")} - {""}
    if scopes:  # only classic tokens and gh's own have scopes
        missing += [f"scope {scope}" for scope in ("repo", "workflow") if scope not in scopes]
    if missing:
        remedy = "`gh auth refresh --scopes repo,workflow`, or edit the fine-grained token; CI has its own token"
        return warning("token", f"yours lacks {', '.join(missing)}", remedy)
    return ok("token", "it may use contents, pull requests and checks")


def code_owners(errors: Answer) -> Finding:
    """Judge whether GitHub can read .github/CODEOWNERS."""
    if not errors.ok:
        return unread("code owners", errors, "Contents: read")
    if not errors.body["errors"]:
        return ok("code owners", "GitHub knows each of them")
    first = errors.body["errors"][0]
    says = f"{first['path']}, line {first['line']}: {first['kind']}, so GitHub asks nobody for that line's files"
    remedy = "name a user, or a team as @organisation/team, with write access; an organisation cannot own files"
    return problem("code owners", says, remedy)


def settings_findings(parts: Sequence[Part]) -> Iterator[Finding]:
    """Judge each part of the repository's settings by .github/settings.yaml."""
    for part in parts:
        if part.unread:
            yield warning(part.topic, part.unread, "ask an administrator of the repository")
        elif part.unavailable:
            yield warning(part.topic, f"{part.unavailable}, so {part.loss}", "SECURITY.md says what that means")
        elif part.differences:
            says = "; ".join(
                f"{key} is {setting(there)}, not {setting(asked)}" for key, (there, asked) in part.differences.items()
            )
            says = f"{says}, so {part.loss}" if part.loss else says
            yield warning(part.topic, says, part.by_hand or "`make github` (it asks for an administrator's token)")
        else:
            yield ok(part.topic, f"as {REPOSITORY} says")


EXAMINATIONS: tuple[Callable[[], Iterator[Finding]], ...] = (
    machine,
    engine,
    storage,
    tracking,
    github,
)
