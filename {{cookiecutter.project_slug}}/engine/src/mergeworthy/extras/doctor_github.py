"""What `make doctor` asks GitHub: runners, variables, and the rules that protect the default branch."""

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

# DOC extras.doctor.answers: GitHub's answers by way of `gh api`, which brings the token itself; none is read, held or
# printed here.

QUIET = {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1", "GH_PAGER": "cat"}


@dataclass(frozen=True)
class Answer:
    """A status (0: none came in time, 401: gh is not signed in), headers in lower case and the JSON."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Tell whether GitHub answered what was asked."""
        return self.status == 200


def ask(host: str, paths: Mapping[str, str]) -> dict[str, Answer]:
    """GET every path of `paths` at once; give the answers by the same names."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(zip(paths, pool.map(lambda path: _get(host, path), paths.values()), strict=True))


def _get(host: str, path: str) -> Answer:
    command = ["gh", "api", "--hostname", host, "--include", path]
    try:
        done = call(command, host, Deadline.GLANCE, environment=QUIET)
    except UserError:
        return Answer(0)
    return read(done.stdout) or Answer(401 if "gh auth login" in done.stderr else 0)


def read(text: str) -> Answer | None:
    """Read what `gh api --include` prints: a status line, headers, an empty line, a body; None if it is not that."""
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


# DOC extras.doctor.runners: Will a job that asks for the GPU be taken? Judged from the repository variable, the
# runners and their releases.

GRACE = timedelta(days=30)  # after a newer release GitHub gives a runner no more jobs
SOON = timedelta(days=7)

MEND_VARIABLE = (
    """gh variable set {name} --body '["self-hosted","linux","x64","gpu"]', or `gh variable delete {name}`"""
)


def labels(value: str) -> list[str] | None:
    """Read the labels that a variable names, or None where it is no JSON list of them."""
    try:
        found = json.loads(value)
    except ValueError:
        return None
    valid = isinstance(found, list) and found and all(isinstance(label, str) and label.strip() for label in found)
    return found if valid else None


def variable_finding(name: str, value: str | None) -> Finding:
    """Tell whether workflows can read the variable. Unset is fine: jobs then run on GitHub's machines."""
    if value is None:
        return ok(name, "not set, so these jobs run on GitHub's own machines")
    if labels(value) is None:
        says = f"{value!r} is not a JSON list of labels, and every workflow that reads it fails"
        return problem(name, says, MEND_VARIABLE.format(name=name))
    return ok(name, f"jobs ask for {', '.join(labels(value) or [])}")


def available(wanted: Sequence[str], runners: Sequence[Mapping[str, Any]], *, all_seen: bool) -> Finding:
    """Tell whether a runner with every label is online; `all_seen`: the organisation's could be listed, too."""
    names = ", ".join(wanted)
    fitting = [runner for runner in runners if {label.lower() for label in wanted} <= _labels(runner)]
    online = [runner["name"] for runner in fitting if runner["status"] == "online"]
    if online:
        return ok("runner", f"{len(online)} online with the labels {names} ({', '.join(sorted(online)[:3])})")
    if fitting:
        says = f"{fitting[0]['name']} has the labels {names}, but is offline: jobs wait 24 hours for it"
        return problem("runner", says, "on its machine: systemctl status 'actions-runner@*' (infra/runner/README.md)")
    says = f"none has all of the labels {names}"
    if not all_seen:
        return warning("runner", f"{says}, and your token may not see the organisation's", "ask one of its owners")
    if "self-hosted" not in {label.lower() for label in wanted}:
        return warning(
            "runner", f"{says}; a scale set on Kubernetes shows none between jobs", "kubectl get pods -n arc-runners"
        )
    return problem("runner", f"{says}: jobs wait 24 hours for one", "infra/runner/README.md makes one in ten minutes")


def _labels(runner: Mapping[str, Any]) -> set[str]:
    return {label["name"].lower() for label in runner["labels"]}


def age(versions: Mapping[str, str], releases: Mapping[str, datetime], now: datetime) -> Finding:
    """Tell whether every runner is new enough; `versions` by runner, `releases`: version → when it was published."""
    worst = now + GRACE
    for version in versions.values():
        newer = [published for release, published in releases.items() if _numbers(release) > _numbers(version)]
        worst = min([worst, *(published + GRACE for published in newer)])
    left = (worst - now).days
    says = ", ".join(f"{runner} is version {version}" for runner, version in sorted(versions.items())[:3])
    mend = "on its machine: systemctl start actions-runner-update"
    if left < 0:
        return problem("runner age", f"{says}, and gets no jobs: a newer one is out for more than 30 days", mend)
    if left <= SOON.days:
        return warning("runner age", f"{says}, and gets no jobs in {left} days: a newer one is out", mend)
    return ok("runner age", says)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


# DOC extras.doctor.rights: What the token may do and what the repository's settings allow, judged from GitHub's
# answers.

SETTING = "Allow GitHub Actions to create and approve pull requests"
CHECK = "verdict"
ENVIRONMENT = "release"  # of .github/workflows/release.yaml
RELEASE_SECRETS = {"APP_PRIVATE_KEY", "COSIGN_PASSWORD", "COSIGN_PRIVATE_KEY", "REGISTRY_PASSWORD"}


def unread(topic: str, answer: Answer, needs: str) -> Finding:
    """GitHub did not tell; say why, and what it would take."""
    if answer.status == 0:
        return warning(topic, "GitHub did not answer within 5 s", "check the network and run it again")
    says = f"your token may not read this (HTTP {answer.status})"
    return warning(topic, says, f"needs {needs}; ask an administrator of the repository")


def repository_finding(name: str, answer: Answer, host: str) -> Finding:
    """Tell whether gh is signed in and there is such a repository."""
    if answer.ok:
        seen = "private" if answer.body.get("private") else "public"
        return ok("repository", f"{name} on {host}, {seen}")
    if answer.status == 401:
        return warning(
            "repository", f"gh is not signed in to {host}, so GitHub was not asked", f"gh auth login --hostname {host}"
        )
    if answer.status in (403, 404):
        says = f"{host} has no {name}, or your token may not see it"
        return problem("repository", says, "check `git remote get-url origin`; `gh auth status` says who you are")
    return unread("repository", answer, "Metadata: read")


def forks(repository: Answer, settings: Answer) -> Finding:
    """Judge whether a fork's pull request can reach machines of your own; `settings` is what `forks_path` names."""
    if not settings.ok:
        return unread("forks", settings, "Administration: read")
    if repository.body.get("private", True):
        allowed = settings.body.get("run_workflows_from_fork_pull_requests")
        if not allowed:
            return ok("forks", "their pull requests run no workflow")
        if settings.body.get("send_secrets_and_variables") or settings.body.get("send_write_tokens_to_workflows"):
            says, mend = "their pull requests are given your secrets, or a token that writes", "switch both off"
        elif not settings.body.get("require_approval_for_fork_pr_workflows"):
            says, mend = "their pull requests can run on your machines unseen", "require approval, or switch them off"
        else:
            return ok("forks", "their pull requests wait for approval; read what they change in .github/ first")
        return warning("forks", says, f"Settings → Actions → General → Fork pull request workflows: {mend}")
    if settings.body.get("approval_policy") == "all_external_contributors":
        return ok("forks", "every outsider's run waits for approval; read what it changes in .github/ first")
    mend = "Settings → Actions → General → Require approval for all external contributors; or make it private"
    return warning("forks", "the repository is public, and a fork's pull request can reach your machines unseen", mend)


def forks_path(repository: Answer) -> str:
    """Return where GitHub tells which of a fork's workflows run: another place for private repositories than public."""
    private = repository.body.get("private", True)
    return f"actions/permissions/{'fork-pr-workflows-private-repos' if private else 'fork-pr-contributor-approval'}"


def token(repository: Answer, pulls: Answer, checks: Answer) -> Finding:
    """Judge contents, pull requests and checks, as far as GitHub tells what a token may do."""
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
        mend = "`gh auth refresh --scopes repo,workflow`, or edit the fine-grained token; CI uses its own"
        return warning("token", f"yours lacks {', '.join(missing)}", mend)
    return ok("token", "contents, pull requests and checks are open to it")


def may_open_pull_requests(answer: Answer) -> Finding:
    """Judge the setting without which no retraining and no promotion can open its pull request."""
    if not answer.ok:
        return unread("pull requests", answer, "Administration: read")
    if answer.body.get("can_approve_pull_request_reviews"):
        return ok("pull requests", "GitHub Actions may open them")
    mend = f"Settings → Actions → General → {SETTING}; for promotions alone a GitHub App will do"
    says = "GitHub Actions may not open them, so no retraining or promotion can show itself"
    return warning("pull requests", says, mend)


@dataclass(frozen=True)
class Rules:
    """What holds for the default branch: rulesets, and branch protection, which administrators alone may read."""

    rulesets: Answer
    branch: Answer
    protection: Answer

    def parameters(self, kind: str) -> list[dict[str, Any]]:
        """Return the parameters of every rule of one kind."""
        rules = self.rulesets.body if self.rulesets.ok else []
        return [rule.get("parameters") or {} for rule in rules if rule["type"] == kind]

    def protects(self, block: str, key: str) -> bool:
        """Return one switch of the branch protection."""
        return bool(self.protection.ok and (self.protection.body.get(block) or {}).get(key))

    @property
    def known(self) -> bool:
        """Whether a rule that was not seen is not there."""
        unprotected = self.branch.ok and not self.branch.body.get("protected")
        return self.protection.ok or unprotected or bool(self.rulesets.ok and self.rulesets.body)


def code_owners(rules: Rules, errors: Answer) -> Finding:
    """Judge whether a code owner's review is required, and whether GitHub can read .github/CODEOWNERS."""
    if errors.ok and errors.body["errors"]:
        first = errors.body["errors"][0]
        says = f"{first['path']}, line {first['line']}: {first['kind']}, so GitHub asks nobody for what it names"
        return problem(
            "code owners",
            says,
            "name a user, or a team as @organisation/team, that may write here; an organisation itself owns nothing",
        )
    demanded = any(each.get("require_code_owner_review") for each in rules.parameters("pull_request"))
    if demanded or rules.protects("required_pull_request_reviews", "require_code_owner_reviews"):
        return ok("code owners", "the default branch takes no change of what decides without an owner's review")
    if not rules.known:
        return unread("code owners", rules.protection, "Administration: read")
    mend = "Settings → Rules → the default branch: a pull request, and review from Code Owners (SECURITY.md)"
    says = "no review from them is required, so whoever may write can change the gate with the model"
    return warning("code owners", says, mend)


def up_to_date(rules: Rules) -> Finding:
    """Judge whether what is merged is what was judged: a branch's own head is, so it must hold all of its base."""
    if rules.parameters("merge_queue"):
        return ok("up to date", "a merge queue judges the merge itself")
    checks = rules.parameters("required_status_checks")
    strict = any(each.get("strict_required_status_checks_policy") for each in checks)
    if strict or rules.protects("required_status_checks", "strict"):
        return ok("up to date", "the default branch takes only branches that hold all of it")
    if not rules.known:
        return unread("up to date", rules.protection, "Administration: read")
    mend = "in the rule for status checks: Require branches to be up to date before merging; or a merge queue"
    says = "the default branch takes one that is behind it, and nobody judged the two together"
    return warning("up to date", says, mend)


def release_environment(environment: Answer, policies: Answer, branch: str) -> Finding:
    """Judge whether only jobs of `branch`, the default one, may use the environment that holds what releases."""
    where = f"Settings → Environments → {ENVIRONMENT} → Deployment branches and tags → Selected branches → {branch}"
    if environment.status == 404:
        mend = f"{where}; a private repository on a free plan has none: SECURITY.md says what is lost"
        says = f"`{ENVIRONMENT}` is missing: GitHub makes it at the first release, open to every branch"
        return warning("environment", says, mend)
    if not environment.ok:
        return unread("environment", environment, "Actions: read")
    policy = environment.body.get("deployment_branch_policy") or {}
    names = [each["name"] for each in policies.body["branch_policies"]] if policies.ok else []
    if policy.get("protected_branches") or (policy.get("custom_branch_policies") and names == [branch]):
        return ok("environment", f"`{ENVIRONMENT}` is open to {'protected branches' if not names else branch} alone")
    if policy.get("custom_branch_policies") and not policies.ok:
        return unread("environment", policies, "Actions: read")
    opened = f"to {', '.join(names)}" if policy.get("custom_branch_policies") else "to every branch"
    return warning("environment", f"`{ENVIRONMENT}` is open {opened}, and so are its secrets", where)


def exposed_secrets(secrets: Answer) -> Finding:
    """Judge whether what signs and releases is kept from the jobs of every branch."""
    if not secrets.ok:
        return unread("secrets", secrets, "Secrets: read")
    open_to_all = sorted({each["name"] for each in secrets.body["secrets"]} & RELEASE_SECRETS)
    if not open_to_all:
        return ok("secrets", "none that signs or releases is open to every branch")
    names = ", ".join(open_to_all)
    mend = f"`gh secret set --env {ENVIRONMENT} NAME` for each, then `gh secret delete NAME`"
    return warning("secrets", f"a job on any branch can read {names} of the repository", mend)


def required_check(rules: Answer, branch: Answer) -> Finding:
    """Judge whether the default branch demands the check `verdict`, by a ruleset or by branch protection."""
    if not rules.ok and not branch.ok:
        if branch.status == 404:
            return warning("required check", "the default branch is not on GitHub yet", "git push -u origin HEAD")
        return unread("required check", branch, "Contents: read")
    names = {
        check["context"]
        for rule in (rules.body if rules.ok else [])
        if rule["type"] == "required_status_checks"
        for check in rule["parameters"]["required_status_checks"]
    }
    if branch.ok:
        required = (branch.body.get("protection") or {}).get("required_status_checks") or {}
        names |= set(required.get("contexts", []))
    if CHECK in names:
        return ok("required check", f"the default branch takes nothing without `{CHECK}`")
    mend = f"Settings → Rules → New ruleset for the default branch: a pull request, and the status check `{CHECK}`"
    return warning("required check", f"`{CHECK}` is not required, so a red verdict stops no merge", mend)


# DOC extras.doctor.hub: Gathers what GitHub tells about this project, a handful of questions at once, and has it
# judged.

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
    yield repository_finding(name, repository, host)
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
        "environment": f"{at}/environments/{ENVIRONMENT}",
        "environment's branches": f"{at}/environments/{ENVIRONMENT}/deployment-branch-policies",
        "secrets": f"{at}/actions/secrets?per_page=100",
        "forks": f"{at}/{forks_path(repository)}",
        "pulls": f"{at}/pulls?per_page=1",
        "checks": f"{at}/commits/HEAD/check-runs?per_page=1",
    }
    if repository.body["owner"].get("type") == "Organization":
        paths["shared variables"] = f"{at}/actions/organization-variables?per_page=100"
        paths["shared runners"] = f"orgs/{repository.body['owner']['login']}/actions/runners?per_page=100"
    answers = ask(host, paths)

    for variable in VARIABLES:
        if answers[variable].status in (200, 404):
            yield variable_finding(variable, _value(variable, answers))
        else:
            yield unread(variable, answers[variable], "Variables: read")
    wanted = labels(_value("GPU_RUNNER", answers) or "")
    if wanted:
        yield from _runner(host, wanted, answers)
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
    """Give the repository's variable, or else its organisation's."""
    if answers[variable].ok:
        return str(answers[variable].body["value"])
    shared = answers.get("shared variables", Answer(404))
    values = {entry["name"]: str(entry["value"]) for entry in shared.body["variables"]} if shared.ok else {}
    return values.get(variable)


def _runner(host: str, wanted: list[str], answers: dict[str, Answer]) -> Iterator[Finding]:
    own, shared = answers["runners"], answers.get("shared runners")
    if not own.ok:
        yield unread("runner", own, "Administration: read")
        return
    seen: list[dict[str, Any]] = [*own.body["runners"], *(shared.body["runners"] if shared and shared.ok else [])]
    yield available(wanted, seen, all_seen=shared is None or shared.ok)

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
        yield age(versions, published, datetime.now(UTC))
    else:
        yield skipped("runner age", f"{host} does not know the runner's releases")
