"""The part of `make doctor` on GitHub: runners, variables, the token, and the settings of the repository.

`github` asks all questions at once, and each of the other public functions judges answers. What the settings should be
stands in .github/settings.yaml alone, and `github_settings` compares them. `gh api` brings the token itself: none is
read, held or printed here.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .. import config
from ..adapters.git import origin
from ..adapters.github import Answer, ask
from ..config import REPOSITORY
from ..errors import UserError
from ..process import Deadline
from .findings import Finding, ok, problem, skipped, warning
from .github_settings import Part, parts_of, read, shown

INSTALLED = Path("/opt/actions-runner/current")  # a link that is named as the version, on a machine with the kit
VARIABLES = ("GPU_RUNNER", "CPU_RUNNER")
SET_VARIABLE = """gh variable set {name} --body '["self-hosted","linux","x64","gpu"]', or `gh variable delete {name}`"""
GRACE = timedelta(days=30)  # GitHub gives a runner no more jobs this long after a newer release
SOON = timedelta(days=7)


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
        settings = config.repository()
    except UserError as error:
        yield problem("settings", str(error), "fix the file")
        return
    if not repository.body.get("permissions", {}).get("admin"):
        says = "only an administrator may read if the repository is what .github/settings.yaml says"
        yield warning("settings", says, "ask one to run `make github CHECK=1`")
        return
    yield from settings_findings(list(parts_of(read(host, name, repository, settings, Deadline.GLANCE))))


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
                f"{key} is {shown(there)}, not {shown(asked)}" for key, (there, asked) in part.differences.items()
            )
            says = f"{says}, so {part.loss}" if part.loss else says
            yield warning(part.topic, says, part.by_hand or "`make github` (it asks for an administrator's token)")
        else:
            yield ok(part.topic, f"as {REPOSITORY} says")
