"""What the token may do and what the repository's settings allow, judged from GitHub's answers."""

from collections.abc import Sequence

from .answers import Answer
from .finding import Finding, ok, problem, warning

SETTING = "Allow GitHub Actions to create and approve pull requests"
CHECK = "verdict"


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


def exposed(repository: Answer, wanted: Sequence[str] | None) -> Finding | None:
    """Warn of a public repository that sends its jobs to a machine of one's own."""
    if not wanted or repository.body.get("private", True):
        return None
    mend = "infra/runner/README.md, Who may use it: make it private, or approve every outside contributor's run"
    return warning("exposure", "the repository is public, and anybody's pull request can reach your runner", mend)


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
    mend = f"Settings → Actions → General → {SETTING}; or give CI a GitHub App"
    says = "GitHub Actions may not open them, so no retraining or promotion can show itself"
    return warning("pull requests", says, mend)


def required_check(rules: Answer, branch: Answer) -> Finding:
    """Tell whether main demands the check `verdict`, by a ruleset or by branch protection."""
    if not rules.ok and not branch.ok:
        if branch.status == 404:
            return warning("required check", "main does not exist on GitHub yet", "git push -u origin main")
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
        return ok("required check", f"main takes nothing without `{CHECK}`")
    mend = f"Settings → Rules → New ruleset for main: require a pull request and the status check `{CHECK}`"
    return warning("required check", f"main does not require `{CHECK}`, so a red verdict stops no merge", mend)
