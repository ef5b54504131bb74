"""Gathers what GitHub tells about this project, a handful of questions at once, and has it judged."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...adapters.origin import origin
from . import rights, runners
from .answers import Answer, ask
from .finding import Finding, skipped

INSTALLED = Path("/opt/actions-runner/current")  # a link that is named as the version, on a machine with the kit
VARIABLES = ("GPU_RUNNER", "CPU_RUNNER")


def github() -> Iterator[Finding]:
    """Repository, runners, token, settings; or one line that says why none of it was asked."""
    where = origin()
    if where is None:
        yield skipped("GitHub", "no GitHub remote yet")
        return
    if not shutil.which("gh"):
        yield skipped("GitHub", "gh is not installed")
        return
    host, name = where
    repository = ask(host, {"": f"repos/{name}"})[""]
    yield rights.repository(name, repository, host)
    if repository.ok:
        yield from _settings(host, name, repository)


def _settings(host: str, name: str, repository: Answer) -> Iterator[Finding]:
    at, branch = f"repos/{name}", repository.body.get("default_branch") or "main"
    paths = {variable: f"{at}/actions/variables/{variable}" for variable in VARIABLES} | {
        "runners": f"{at}/actions/runners?per_page=100",
        "permissions": f"{at}/actions/permissions/workflow",
        "rules": f"{at}/rules/branches/{branch}",
        "branch": f"{at}/branches/{branch}",
        "protection": f"{at}/branches/{branch}/protection",
        "owners": f"{at}/codeowners/errors",
        "environment": f"{at}/environments/{rights.ENVIRONMENT}",
        "environment's branches": f"{at}/environments/{rights.ENVIRONMENT}/deployment-branch-policies",
        "secrets": f"{at}/actions/secrets?per_page=100",
        "forks": f"{at}/{rights.forks_path(repository)}",
        "pulls": f"{at}/pulls?per_page=1",
        "checks": f"{at}/commits/HEAD/check-runs?per_page=1",
    }
    if repository.body["owner"].get("type") == "Organization":
        paths["shared variables"] = f"{at}/actions/organization-variables?per_page=100"
        paths["shared runners"] = f"orgs/{repository.body['owner']['login']}/actions/runners?per_page=100"
    answers = ask(host, paths)

    for variable in VARIABLES:
        if answers[variable].status in (200, 404):
            yield runners.variable(variable, _value(variable, answers))
        else:
            yield rights.unread(variable, answers[variable], "Variables: read")
    wanted = runners.labels(_value("GPU_RUNNER", answers) or "")
    if wanted:
        yield from _runner(host, wanted, answers)
    if any(_value(variable, answers) for variable in VARIABLES):
        yield rights.forks(repository, answers["forks"])
    yield rights.token(repository, answers["pulls"], answers["checks"])
    yield rights.may_open_pull_requests(answers["permissions"])
    yield rights.required_check(answers["rules"], answers["branch"])
    rules = rights.Rules(answers["rules"], answers["branch"], answers["protection"])
    yield rights.code_owners(rules, answers["owners"])
    yield rights.up_to_date(rules)
    yield rights.release_environment(answers["environment"], answers["environment's branches"], branch)
    yield rights.exposed_secrets(answers["secrets"])


def _value(variable: str, answers: dict[str, Answer]) -> str | None:
    """Give the repository's variable, or else its organisation's."""
    if answers[variable].ok:
        return str(answers[variable].body["value"])
    shared = answers.get("shared variables", Answer(404))
    values = {entry["name"]: str(entry["value"]) for entry in shared.body["variables"]} if shared.ok else {}
    return values.get(variable)


def _runner(host: str, wanted: list[str], answers: dict[str, Answer]) -> Iterator[Finding]:
    own, shared = answers["runners"], answers.get("shared runners")
    if not own.ok:
        yield rights.unread("runner", own, "Administration: read")
        return
    seen: list[dict[str, Any]] = [*own.body["runners"], *(shared.body["runners"] if shared and shared.ok else [])]
    yield runners.available(wanted, seen, all_seen=shared is None or shared.ok)

    versions = {runner["name"]: str(runner["version"]) for runner in seen if runner.get("version")}
    if INSTALLED.is_symlink():
        versions["this machine's runner"] = INSTALLED.readlink().name
    if not versions:
        yield skipped("runner age", "GitHub does not tell it; ask on the runner's machine")
        return
    releases = ask(host, {"": "repos/actions/runner/releases?per_page=30"})[""]
    if releases.ok:
        published = {
            release["tag_name"].removeprefix("v"): datetime.fromisoformat(release["published_at"])
            for release in releases.body
        }
        yield runners.age(versions, published, datetime.now(UTC))
    else:
        yield skipped("runner age", f"{host} does not know the runner's releases")
