"""What the token may do and what the repository's settings allow, judged from GitHub's answers."""

from dataclasses import dataclass
from typing import Any

from .answers import Answer
from .finding import Finding, ok, problem, warning

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


def repository(name: str, answer: Answer, host: str) -> Finding:
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
