"""The part of `make doctor` on GitHub: runners, variables, the token, and the rules of the default branch.

`github` asks all questions at once, and each of the other public functions judges answers. `gh api` brings the token
itself: none is read, held or printed here.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..adapters.git import origin
from ..errors import UserError
from ..process import Deadline, call
from .findings import Finding, ok, problem, skipped, warning

QUIET = {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1", "GH_PAGER": "cat"}

INSTALLED = Path("/opt/actions-runner/current")  # a link that is named as the version, on a machine with the kit
VARIABLES = ("GPU_RUNNER", "CPU_RUNNER")
SET_VARIABLE = """gh variable set {name} --body '["self-hosted","linux","x64","gpu"]', or `gh variable delete {name}`"""
GRACE = timedelta(days=30)  # GitHub gives a runner no more jobs this long after a newer release
SOON = timedelta(days=7)

SETTING = "Allow GitHub Actions to create and approve pull requests"
REQUIRED_CHECK = "verdict"
ACTIONS_ID = 15368  # the app GitHub Actions on github.com, by which jobs report their checks
ENVIRONMENT = "release"  # of .github/workflows/release.yaml
RELEASE_SECRETS = {"APP_PRIVATE_KEY", "COSIGN_PASSWORD", "COSIGN_PRIVATE_KEY", "REGISTRY_PASSWORD"}


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


@dataclass(frozen=True)
class Rules:
    """The rules of the default branch: rulesets, and branch protection, which only administrators may read."""

    rulesets: Answer
    branch: Answer
    protection: Answer

    def parameters(self, kind: str) -> list[dict[str, Any]]:
        """Return the parameters of every rule of one kind."""
        rules = self.rulesets.body if self.rulesets.ok else []
        return [rule.get("parameters") or {} for rule in rules if rule["type"] == kind]

    def protects(self, block: str, key: str) -> bool:
        """Return one setting of the branch protection; False if it cannot be read."""
        return bool(self.protection.ok and (self.protection.body.get(block) or {}).get(key))

    @property
    def complete(self) -> bool:
        """Return if a rule that is missing here does not exist: enough of the rules could be read."""
        unprotected = self.branch.ok and not self.branch.body.get("protected")
        return self.protection.ok or unprotected or bool(self.rulesets.ok and self.rulesets.body)


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
    base, branch = f"repos/{name}", repository.body.get("default_branch") or "main"
    paths = {variable: f"{base}/actions/variables/{variable}" for variable in VARIABLES} | {
        "runners": f"{base}/actions/runners?per_page=100",
        "permissions": f"{base}/actions/permissions/workflow",
        "rules": f"{base}/rules/branches/{branch}",
        "branch": f"{base}/branches/{branch}",
        "protection": f"{base}/branches/{branch}/protection",
        "owners": f"{base}/codeowners/errors",
        "environment": f"{base}/environments/{ENVIRONMENT}",
        "environment's branches": f"{base}/environments/{ENVIRONMENT}/deployment-branch-policies",
        "secrets": f"{base}/actions/secrets?per_page=100",
        "forks": f"{base}/{forks_path(repository)}",
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
    if any(_value(variable, answers) for variable in VARIABLES):
        yield forks(repository, answers["forks"])
    yield token(repository, answers["pulls"], answers["checks"])
    yield may_open_pull_requests(answers["permissions"])
    yield required_check(answers["rules"], answers["branch"])
    rules = Rules(answers["rules"], answers["branch"], answers["protection"])
    yield code_owners(rules, answers["owners"])
    yield up_to_date(rules)
    yield release_environment(answers["environment"], answers["environment's branches"], branch)
    yield exposed_secrets(answers["secrets"])


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


def ask(host: str, paths: Mapping[str, str]) -> dict[str, Answer]:
    """Return the answers to a GET of each path, by the names of the paths; all are asked at once."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(zip(paths, pool.map(lambda path: _get(host, path), paths.values()), strict=True))


def _get(host: str, path: str) -> Answer:
    command = ["gh", "api", "--hostname", host, "--include", path]
    try:
        done = call(command, host, Deadline.GLANCE, environment=QUIET)
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


def forks(repository: Answer, settings: Answer) -> Finding:
    """Judge if a fork's pull request can reach machines of your own; `settings` is the answer to `forks_path`."""
    if not settings.ok:
        return unread("forks", settings, "Administration: read")
    if repository.body.get("private", True):
        allowed = settings.body.get("run_workflows_from_fork_pull_requests")
        if not allowed:
            return ok("forks", "their pull requests run no workflow")
        if settings.body.get("send_secrets_and_variables") or settings.body.get("send_write_tokens_to_workflows"):
            says, remedy = "their pull requests get your secrets, or a token that may write", "switch both off"
        elif not settings.body.get("require_approval_for_fork_pr_workflows"):
            says = "their pull requests can run on your machines without approval"
            remedy = "require approval, or switch them off"
        else:
            return ok("forks", "their pull requests wait for approval; read what they change in .github/ first")
        return warning("forks", says, f"Settings → Actions → General → Fork pull request workflows: {remedy}")
    if settings.body.get("approval_policy") == "all_external_contributors":
        return ok("forks", "every outsider's run waits for approval; read what it changes in .github/ first")
    remedy = "Settings → Actions → General → Require approval for all external contributors; or make it private"
    says = "the repository is public, and a fork's pull request can reach your machines without approval"
    return warning("forks", says, remedy)


def forks_path(repository: Answer) -> str:
    """Return the path of the setting for workflows of forks, which depends on a repository being private or public."""
    private = repository.body.get("private", True)
    return f"actions/permissions/{'fork-pr-workflows-private-repos' if private else 'fork-pr-contributor-approval'}"


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


def may_open_pull_requests(answer: Answer) -> Finding:
    """Judge the setting without which no retraining and no promotion can open its pull request."""
    if not answer.ok:
        return unread("pull requests", answer, "Administration: read")
    if answer.body.get("can_approve_pull_request_reviews"):
        return ok("pull requests", "GitHub Actions may open them")
    remedy = f"Settings → Actions → General → {SETTING}; for promotions alone a GitHub App will do"
    says = "GitHub Actions may not open them, so no retraining and no promotion can be proposed"
    return warning("pull requests", says, remedy)


def code_owners(rules: Rules, errors: Answer) -> Finding:
    """Judge if a code owner's review is required, and whether GitHub can read .github/CODEOWNERS."""
    if errors.ok and errors.body["errors"]:
        first = errors.body["errors"][0]
        says = f"{first['path']}, line {first['line']}: {first['kind']}, so GitHub asks nobody for that line's files"
        remedy = "name a user, or a team as @organisation/team, with write access; an organisation cannot own files"
        return problem("code owners", says, remedy)
    required = any(each.get("require_code_owner_review") for each in rules.parameters("pull_request"))
    if required or rules.protects("required_pull_request_reviews", "require_code_owner_reviews"):
        return ok("code owners", "changes of critical files on the default branch need a review of a code owner")
    if not rules.complete:
        return unread("code owners", rules.protection, "Administration: read")
    remedy = "Settings → Rules → the default branch: a pull request, and review from Code Owners (SECURITY.md)"
    says = "their review is not required, so whoever may write can change the gate along with the model"
    return warning("code owners", says, remedy)


def up_to_date(rules: Rules) -> Finding:
    """Judge if a branch must contain all of its base to be merged: otherwise nobody judged the result."""
    if rules.parameters("merge_queue"):
        return ok("up to date", "a merge queue judges the merge itself")
    checks = rules.parameters("required_status_checks")
    strict = any(each.get("strict_required_status_checks_policy") for each in checks)
    if strict or rules.protects("required_status_checks", "strict"):
        return ok("up to date", "a branch must contain all of the default branch to be merged")
    if not rules.complete:
        return unread("up to date", rules.protection, "Administration: read")
    remedy = "in the rule for status checks: Require branches to be up to date before merging; or a merge queue"
    says = "a branch that is behind the default branch can be merged, and the result was not judged"
    return warning("up to date", says, remedy)


def release_environment(environment: Answer, policies: Answer, branch: str) -> Finding:
    """Judge if only jobs of `branch`, the default branch, may use the environment with the secrets of a release."""
    setting = f"Settings → Environments → {ENVIRONMENT} → Deployment branches and tags → Selected branches → {branch}"
    if environment.status == 404:
        remedy = f"{setting}; a private repository on a free plan cannot have one: SECURITY.md says what that means"
        says = f"`{ENVIRONMENT}` is missing: GitHub creates it at the first release, open to every branch"
        return warning("environment", says, remedy)
    if not environment.ok:
        return unread("environment", environment, "Actions: read")
    policy = environment.body.get("deployment_branch_policy") or {}
    names = [each["name"] for each in policies.body["branch_policies"]] if policies.ok else []
    if policy.get("protected_branches") or (policy.get("custom_branch_policies") and names == [branch]):
        return ok("environment", f"`{ENVIRONMENT}` is open to {'protected branches' if not names else branch} alone")
    if policy.get("custom_branch_policies") and not policies.ok:
        return unread("environment", policies, "Actions: read")
    opened = f"to {', '.join(names)}" if policy.get("custom_branch_policies") else "to every branch"
    return warning("environment", f"`{ENVIRONMENT}` is open {opened}, and so are its secrets", setting)


def exposed_secrets(secrets: Answer) -> Finding:
    """Judge if the jobs of every branch can read a secret that signs or releases."""
    if not secrets.ok:
        return unread("secrets", secrets, "Secrets: read")
    open_to_all = sorted({each["name"] for each in secrets.body["secrets"]} & RELEASE_SECRETS)
    if not open_to_all:
        return ok("secrets", "no secret that signs or releases is open to every branch")
    names = ", ".join(open_to_all)
    remedy = f"`gh secret set --env {ENVIRONMENT} NAME` for each, then `gh secret delete NAME`"
    return warning("secrets", f"a job on any branch can read {names} of the repository", remedy)


def required_check(rules: Answer, branch: Answer) -> Finding:
    """Judge if the default branch requires the check `verdict`, of the jobs of GitHub Actions and of no other app."""
    if not rules.ok and not branch.ok:
        if branch.status == 404:
            return warning("required check", "the default branch is not on GitHub yet", "git push -u origin HEAD")
        return unread("required check", branch, "Contents: read")
    apps = {
        check.get("integration_id")
        for rule in (rules.body if rules.ok else [])
        if rule["type"] == "required_status_checks"
        for check in rule["parameters"]["required_status_checks"]
        if check["context"] == REQUIRED_CHECK
    }
    if branch.ok:
        required = (branch.body.get("protection") or {}).get("required_status_checks") or {}
        listed = required.get("checks") or [{"context": name} for name in required.get("contexts", [])]
        apps |= {check.get("app_id") for check in listed if check["context"] == REQUIRED_CHECK}
    if ACTIONS_ID in apps:
        return ok("required check", f"nothing is merged into the default branch without `{REQUIRED_CHECK}`")
    if apps:
        remedy = f"in the rule for status checks: GitHub Actions (app {ACTIONS_ID}) as the source of `{REQUIRED_CHECK}`"
        says = f"`{REQUIRED_CHECK}` is not required of GitHub Actions alone, so any app or token can report it"
        if others := apps - {None, -1}:
            says = f"`{REQUIRED_CHECK}` is required of app {min(others)}, which is not GitHub Actions"
        return warning("required check", says, remedy)
    remedy = f"Settings → Rules → New ruleset for the default branch: a pull request, status check `{REQUIRED_CHECK}`"
    says = f"`{REQUIRED_CHECK}` is not required, so a red verdict does not stop a merge"
    return warning("required check", says, remedy)
