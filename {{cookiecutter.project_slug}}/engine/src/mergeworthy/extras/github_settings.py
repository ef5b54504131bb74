"""`make github`: make the repository on GitHub what .github/settings.yaml says, or show where it differs.

`read` asks GitHub all questions at once, and `parts_of` turns the answers into parts. A part holds what is there, what
the file asks for, and the requests that close the difference, so `--check`, `make doctor` and the change itself cannot
disagree.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .. import config
from ..adapters import github
from ..adapters.git import origin
from ..adapters.github import Answer, ask
from ..config.infra import DEFAULT_BRANCH, REPOSITORY, Environment, MainBranch, Repository
from ..errors import UserError
from ..process import Deadline
from ..text import clean, say

RULESET = "default branch"
ACTIONS_APP = 15368  # the id of GitHub's own App "GitHub Actions", whose check runs are those of jobs
APP, BRANCH = "Integration", "branch"
# Parts of what GitHub says if a plan, or a private repository, does not have a feature.
PLAN = ("upgrade", "billing plan", "not available", "advanced security", "secret protection")
PAID = "a private repository has none on GitHub Free"
UNPROTECTED = "whoever may write can push to the default branch, past the verdict and the reviewers"
QUEUE = {
    "check_response_timeout_minutes": 360,
    "grouping_strategy": "ALLGREEN",
    "max_entries_to_build": 5,
    "max_entries_to_merge": 5,
    "merge_method": "MERGE",
    "min_entries_to_merge": 1,
    "min_entries_to_merge_wait_minutes": 5,
}
Facts = Mapping[str, object]


@dataclass(frozen=True)
class Request:
    """A write to GitHub's API; `path` follows the repository's."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Part:
    """One part of the settings: facts by name, as they are and as they should be, and what closes the difference.

    `loss` is what it costs to go without. `by_hand` is what a person has to do that no request can. `unavailable` says
    why this repository cannot have the part, `unread` why nobody knows what is there.
    """

    topic: str
    actual: Facts
    target: Facts
    loss: str
    requests: Sequence[Request] = ()
    by_hand: str = ""
    unavailable: str = ""
    unread: str = ""

    @property
    def differences(self) -> dict[str, tuple[object, object]]:
        """Return what is there and what should be, by the name of each fact that differs."""
        if self.unavailable or self.unread:
            return {}
        pairs = {key: (self.actual.get(key), value) for key, value in self.target.items()}
        return {key: (there, asked) for key, (there, asked) in pairs.items() if there != asked}


@dataclass(frozen=True)
class Subject:
    """The repository on GitHub, what the file asks for, and all answers of GitHub's by name."""

    host: str
    name: str
    body: Mapping[str, Any]
    settings: Repository
    answers: Mapping[str, Answer] = field(default_factory=dict)

    @property
    def private(self) -> bool:
        """Return if only people who are let in can see the repository."""
        return bool(self.body.get("private", True))

    @property
    def branch(self) -> str:
        """Return the name of the default branch."""
        return str(self.body.get("default_branch") or "main")

    @property
    def organization(self) -> bool:
        """Return if an organisation owns the repository."""
        return bool(self.body["owner"].get("type") == "Organization")

    @property
    def plan_lacks_rules(self) -> bool:
        """Return if the plan has neither rulesets nor environments for this repository."""
        return self.private and self.answers["rulesets"].status == 403 and _of_plan(_message(self.answers["rulesets"]))


def run(*, check: bool) -> int:
    """Show the differences (`check`), or close them; return 1 if some are left that can be closed here."""
    parts, subject = locate()
    return show(parts) if check else change(parts, subject)


def locate() -> tuple[list[Part], Subject]:
    """Return the parts of the repository behind `origin`; raise `UserError` if nobody may read or change them."""
    settings = config.repository()
    if not shutil.which("gh"):
        raise UserError("gh is not installed: cli.github.com, then `gh auth login`")
    location = origin()
    if location is None:
        raise UserError("there is no GitHub remote: `gh repo create OWNER/NAME --private --source=. --remote=origin`")
    host, name = location
    answer = ask(host, {"": f"repos/{name}"}, Deadline.ANSWER)[""]
    if answer.status == 401:
        raise UserError(f"gh is not signed in to {host}: `gh auth login --hostname {host}`")
    if not answer.ok:
        reason = f"HTTP {answer.status}" if answer.status else "no answer"
        raise UserError(f"{host} shows no repository {name} ({reason}): check `git remote get-url origin`")
    if not answer.body.get("permissions", {}).get("admin"):
        raise UserError(
            f"your token does not administer {name}, and nobody else may read or change its settings: ask one who "
            "does, or `gh auth login` with an administrator's account"
        )
    subject = read(host, name, answer, settings, Deadline.ANSWER)
    return list(parts_of(subject)), subject


def read(host: str, name: str, answer: Answer, settings: Repository, deadline: Deadline) -> Subject:
    """Ask GitHub for all that the settings speak of; `answer` is the repository itself."""
    subject = Subject(host, name, answer.body, settings)
    base = f"repos/{name}"
    paths = {
        "branch": f"{base}/branches/{subject.branch}",
        "rulesets": f"{base}/rulesets?includes_parents=false&per_page=100",
        "workflow": f"{base}/actions/permissions/workflow",
        "forks": f"{base}/{_forks_path(subject)}",
        "secrets": f"{base}/actions/secrets?per_page=100",
        "vulnerability-alerts": f"{base}/vulnerability-alerts",
        "reports": f"{base}/private-vulnerability-reporting",
    }
    for each in settings.environments:
        at = f"{base}/environments/{quote(each, safe='')}"
        paths[f"environment {each}"] = at
        paths[f"branches {each}"] = f"{at}/deployment-branch-policies?per_page=100"
        paths[f"secrets {each}"] = f"{at}/secrets?per_page=100"
    paths |= {f"label {each}": f"{base}/labels/{quote(each, safe='')}" for each in settings.labels}
    paths |= {f"variable {each}": f"{base}/actions/variables/{each}" for each in settings.variables}
    if subject.organization:
        paths["shared secrets"] = f"{base}/actions/organization-secrets?per_page=100"
    if package := _package(subject):
        paths["package"] = package
    answers = ask(host, paths, deadline)
    listed = answers["rulesets"].body if answers["rulesets"].ok else []
    ours = next((each["id"] for each in listed if each["name"] == RULESET), None)
    if ours is not None:
        answers |= ask(host, {"ruleset": f"{base}/rulesets/{ours}"}, deadline)
    return Subject(host, name, answer.body, settings, answers)


def parts_of(subject: Subject) -> Iterator[Part]:
    """Return all parts; the ruleset is last, so that what goes before it is never held up by it."""
    yield _workflow(subject)
    yield _forks(subject)
    for name, environment in subject.settings.environments.items():
        yield _environment(subject, name, environment)
    yield from _labels(subject)
    yield from _variables(subject)
    yield _secrets(subject)
    for name, environment in subject.settings.environments.items():
        yield _environment_secrets(subject, name, environment)
    yield from _security(subject)
    if "package" in subject.answers:
        yield _linked_package(subject)
    yield _ruleset(subject)


def show(parts: Sequence[Part]) -> int:
    """Print the differences as a diff; return 1 if there is one, or if a part could not be read."""
    for part in parts:
        if part.unread:
            say(f"? {part.topic}: {part.unread}")
        elif part.unavailable:
            say(f"! {part.topic}: {part.unavailable}, so {part.loss}")
        for key, (there, asked) in part.differences.items():
            say(f"{part.topic}: {key}")
            say(f"  - {shown(there)}")
            say(f"  + {shown(asked)}")
        if part.differences and part.by_hand:
            say(f"    by hand: {part.by_hand}")
    different = [part for part in parts if part.differences or part.unread]
    if not different:
        say(f"the repository is what {REPOSITORY} says")
    return int(bool(different))


def change(parts: Sequence[Part], subject: Subject) -> int:
    """Close the differences and print what was done; return 1 if GitHub refused something that the plan has."""
    failed = 0
    for part in parts:
        if part.unread:
            failed += 1
            say(f"? {part.topic}: {part.unread}")
        elif part.unavailable:
            say(f"! {part.topic}: {part.unavailable}, so {part.loss}")
        elif part.differences and part.by_hand:
            names = ", ".join(part.differences)
            say(f"→ {part.topic}: {names}: {part.by_hand}")
        elif part.differences:
            refusal = _send(part, subject)
            if refusal and _of_plan(refusal):
                say(f"! {part.topic}: {refusal}, so {part.loss}")
            elif refusal:
                failed += 1
                say(f"✗ {part.topic}: {refusal}")
            else:
                changed = ", ".join(f"{key} {shown(asked)}" for key, (_, asked) in part.differences.items())
                say(f"✓ {part.topic}: {changed}")
    if not any(part.differences or part.unavailable or part.unread for part in parts):
        say(f"nothing to change: the repository is what {REPOSITORY} says")
    return int(bool(failed))


def _send(part: Part, subject: Subject) -> str:
    """Send a part's requests in their order; return why GitHub refused one, or an empty text."""
    try:
        for request in part.requests:
            path = f"repos/{subject.name}{request.path}"
            github.api(path, method=request.method, body=request.body, host=subject.host)
    except github.RefusedError as error:
        return clean(error)
    return ""


# Each function below makes one part of the answers.


def _workflow(subject: Subject) -> Part:
    answer, asked = subject.answers["workflow"], subject.settings.actions
    body = {
        "default_workflow_permissions": asked.default_permissions,
        "can_approve_pull_request_reviews": asked.may_open_pull_requests,
    }
    loss = "no retraining, promotion or update can open its pull request, or a job may write that asks for nothing"
    requests = (Request("PUT", "/actions/permissions/workflow", body),)
    return _part("actions", answer, body, loss, requests, needs="Administration")


def _forks_path(subject: Subject) -> str:
    name = "fork-pr-workflows-private-repos" if subject.private else "fork-pr-contributor-approval"
    return f"actions/permissions/{name}"


def _forks(subject: Subject) -> Part:
    asked = subject.settings.actions
    if subject.private:
        approval = asked.private_forks == "approval"
        body: dict[str, Any] = {
            "run_workflows_from_fork_pull_requests": approval,
            "send_write_tokens_to_workflows": False,
            "send_secrets_and_variables": False,
            "require_approval_for_fork_pr_workflows": approval,
        }
    else:
        body = {"approval_policy": asked.public_forks}
    loss = "a fork's pull request can reach machines of your own without approval"
    requests = (Request("PUT", f"/{_forks_path(subject)}", body),)
    return _part("forks", subject.answers["forks"], body, loss, requests, needs="Administration")


def _environment(subject: Subject, name: str, asked: Environment) -> Part:
    topic, loss = f"environment {name}", "a job of any branch can read the secrets that release (SECURITY.md)"
    answer, policies = subject.answers[f"environment {name}"], subject.answers[f"branches {name}"]
    if subject.plan_lacks_rules:
        return Part(topic, {}, {}, loss, unavailable=PAID)
    if answer.status not in (200, 404):
        return Part(topic, {}, {}, loss, unread=_unread(answer, "Actions"))
    branches = sorted(subject.branch if each == DEFAULT_BRANCH else each for each in asked.branches)
    custom = ((answer.body or {}).get("deployment_branch_policy") or {}).get("custom_branch_policies") is True
    present = {each["name"]: each["id"] for each in policies.body["branch_policies"]} if custom and policies.ok else {}
    at, requests = f"/environments/{quote(name, safe='')}", []
    if not custom:
        policy = {"protected_branches": False, "custom_branch_policies": True}
        requests.append(Request("PUT", at, {**_kept_rules(answer), "deployment_branch_policy": policy}))
    at = f"{at}/deployment-branch-policies"
    requests += [Request("POST", at, {"name": each, "type": BRANCH}) for each in branches if each not in present]
    requests += [Request("DELETE", f"{at}/{number}") for each, number in present.items() if each not in branches]
    actual = {"branches": sorted(present) if custom else "all" if answer.ok else None}
    return Part(topic, actual, {"branches": branches}, loss, requests)


def _kept_rules(answer: Answer) -> dict[str, Any]:
    """Return the reviewers and the waiting time that an environment has: a PUT without them would take them away."""
    kept: dict[str, Any] = {}
    for rule in (answer.body or {}).get("protection_rules", []) if answer.ok else []:
        if rule["type"] == "wait_timer":
            kept["wait_timer"] = rule["wait_timer"]
        elif rule["type"] == "required_reviewers":
            kept["prevent_self_review"] = rule.get("prevent_self_review", False)
            kept["reviewers"] = [{"type": each["type"], "id": each["reviewer"]["id"]} for each in rule["reviewers"]]
    return kept


def _labels(subject: Subject) -> Iterator[Part]:
    for name, asked in subject.settings.labels.items():
        answer, body = subject.answers[f"label {name}"], {"color": asked.color, "description": asked.description}
        method, path = ("PATCH", f"/labels/{quote(name, safe='')}") if answer.ok else ("POST", "/labels")
        request = Request(method, path, body if answer.ok else {"name": name, **body})
        yield _part(f"label {name}", answer, body, "", (request,), needs="Issues", creates=True)


def _variables(subject: Subject) -> Iterator[Part]:
    for name, value in subject.settings.variables.items():
        answer, text = subject.answers[f"variable {name}"], value if isinstance(value, str) else json.dumps(value)
        method, path = ("PATCH", f"/actions/variables/{name}") if answer.ok else ("POST", "/actions/variables")
        request = Request(method, path, {"name": name, "value": text})
        yield _part(f"variable {name}", answer, {"value": text}, "", (request,), needs="Variables", creates=True)


def _secrets(subject: Subject) -> Part:
    """Return the names of the repository's secrets: some are missing, and some belong to an environment."""
    answer, settings = subject.answers["secrets"], subject.settings
    if not answer.ok:
        return Part("secrets", {}, {}, "", unread=_unread(answer, "Secrets"))
    present, shared = _names(answer), _names(subject.answers.get("shared secrets", Answer(404)))
    actual: dict[str, object] = {each: "set" for each in settings.secrets if each in present | shared}
    exposed = (settings.restricted - {*settings.secrets, *settings.optional_secrets}) & (present | shared)
    actual |= dict.fromkeys(exposed, "open to every branch")
    target = dict.fromkeys(settings.secrets, "set") | dict.fromkeys(sorted(exposed), "in its environment alone")
    advice = "`gh secret set NAME < FILE`" if set(settings.secrets) - present - shared else ""
    if exposed:
        advice = " and ".join(filter(None, [advice, "for those of an environment `gh secret delete NAME`"]))
    loss = "jobs do not reach the DVC remote, or a job on any branch can release"
    return Part("secrets", actual, target, loss, by_hand=advice)


def _environment_secrets(subject: Subject, name: str, asked: Environment) -> Part:
    topic, answer = f"secrets of {name}", subject.answers[f"secrets {name}"]
    loss = "a release cannot write to the default branch"
    if subject.plan_lacks_rules:
        there = "set them as secrets of the repository, which every branch can read"
        return Part(topic, {}, {}, there, unavailable=PAID)
    if answer.status not in (200, 404):
        return Part(topic, {}, {}, loss, unread=_unread(answer, "Environments"))
    actual = dict.fromkeys(set(asked.secrets) & _names(answer), "set")
    advice = f"`gh secret set NAME --env {name} < FILE`"
    return Part(topic, actual, dict.fromkeys(asked.secrets, "set"), loss, by_hand=advice)


def _names(answer: Answer) -> set[str]:
    return {each["name"] for each in answer.body["secrets"]} if answer.ok else set()


def _security(subject: Subject) -> Iterator[Part]:
    asked, private = subject.settings.security, subject.private
    now = subject.body.get("security_and_analysis") or {}
    names = ("secret_scanning", "secret_scanning_push_protection")
    actual = {name: (now.get(name) or {}).get("status", "disabled") for name in names}
    if private and asked.scan_for_secrets == "if_public":
        lost = "a secret in a commit is not noticed"
        unavailable = "" if set(actual.values()) == {"enabled"} else "off in this private repository"
        yield Part("secret scanning", {}, {}, lost, unavailable=unavailable)
    else:
        status = "enabled" if asked.scan_for_secrets else "disabled"
        body = {"security_and_analysis": {name: {"status": status} for name in names}}
        target = dict.fromkeys(names, status)
        yield Part(
            "secret scanning", actual, target, "a secret in a commit is not noticed", (Request("PATCH", "", body),)
        )

    answer, loss = subject.answers["vulnerability-alerts"], "nobody hears of a vulnerable package"
    if answer.status in (204, 404):
        request = Request("PUT" if asked.dependabot_alerts else "DELETE", "/vulnerability-alerts")
        alerts = {"enabled": answer.status == 204}
        yield Part("Dependabot alerts", alerts, {"enabled": asked.dependabot_alerts}, loss, (request,))
    else:
        yield Part("Dependabot alerts", {}, {}, loss, unread=_unread(answer, "Administration"))

    if not private:
        loss = "a weakness can only be reported in public"
        answer, on = subject.answers["reports"], bool(asked.private_vulnerability_reporting)
        request = Request("PUT" if on else "DELETE", "/private-vulnerability-reporting")
        yield _part("private reports", answer, {"enabled": on}, loss, (request,), needs="Administration")


def _package(subject: Subject) -> str | None:
    """Return the path of the image's package on GHCR; None if the image lies elsewhere."""
    image = config.infra().image
    registry, _, rest = (image.repository if image else "").partition("/")
    owner, _, name = rest.partition("/")
    if registry != "ghcr.io" or not name:
        return None
    whose = "orgs" if subject.organization else "users"
    return f"{whose}/{owner}/packages/container/{quote(name, safe='')}"


def _linked_package(subject: Subject) -> Part:
    """Return the link between package and repository, without which a job's token may not push to the package.

    The first push links them by a label of the image; later GitHub has a page for it, and no request.
    """
    answer, loss = subject.answers["package"], "the first release is refused if a package of that name exists already"
    if answer.status in (401, 403):
        says = "cannot be read: `gh auth refresh --scopes read:packages`"
        return Part("package", {}, {}, loss, unavailable=says)
    if answer.status != 200:  # 404: not pushed yet
        return Part("package", {}, {}, loss, unread="" if answer.status == 404 else _unread(answer, "Packages"))
    linked = (answer.body.get("repository") or {}).get("full_name")
    advice = f"{answer.body['html_url']}/settings: Manage Actions access → Add repository {subject.name}, role Write"
    return Part("package", {"repository": linked}, {"repository": subject.name}, loss, by_hand=advice)


def _ruleset(subject: Subject) -> Part:
    """Return the ruleset of the default branch. It comes after the first push, which no pull request can bring."""
    topic, asked = "ruleset", subject.settings.default_branch
    if subject.plan_lacks_rules:
        return Part(topic, {}, {}, UNPROTECTED, unavailable=PAID)
    for answer in (subject.answers["rulesets"], subject.answers.get("ruleset", Answer(200))):
        if not answer.ok:
            return Part(topic, {}, {}, UNPROTECTED, unread=_unread(answer, "Administration"))
    there = subject.answers.get("ruleset")
    body = ruleset_body(asked)
    actual, target = _flat(there.body if there else {}), _flat(body)
    target |= {key: None for key in actual if key.startswith("rule ") and key not in target}
    path = f"/rulesets/{there.body['id']}" if there else "/rulesets"
    advice = ""
    if not there and subject.answers["branch"].status == 404:
        advice = f"push {subject.branch} first (`git push -u origin {subject.branch}`), then run `make github` again"
    return Part(topic, actual, target, UNPROTECTED, (Request("PUT" if there else "POST", path, body),), advice)


def ruleset_body(asked: MainBranch) -> dict[str, Any]:
    """Return the ruleset as GitHub's API takes it."""
    queue = asked.freshness == "merge_queue"
    reviews = {
        "required_approving_review_count": asked.approvals,
        "require_code_owner_review": asked.code_owner_review,
        "dismiss_stale_reviews_on_push": False,
        "require_last_push_approval": False,
        "required_review_thread_resolution": False,
    }
    checks = {
        "strict_required_status_checks_policy": not queue,
        "required_status_checks": [{"context": asked.required_check, "integration_id": ACTIONS_APP}],
    }
    return {
        "name": RULESET,
        "target": BRANCH,
        "enforcement": "active",
        "conditions": {"ref_name": {"include": [DEFAULT_BRANCH], "exclude": []}},
        "bypass_actors": [
            {"actor_id": each, "actor_type": APP, "bypass_mode": "always"} for each in sorted(asked.bypass_apps)
        ],
        "rules": [
            {"type": "deletion"},
            {"type": "non_fast_forward"},
            {"type": "pull_request", "parameters": reviews},
            {"type": "required_status_checks", "parameters": checks},
            *([{"type": "merge_queue", "parameters": QUEUE}] if queue else []),
        ],
    }


def _flat(ruleset: Mapping[str, Any]) -> dict[str, object]:
    """Return a ruleset's facts by name; GitHub's own defaults, which nobody asked for, have names of their own."""
    if not ruleset:
        return {}
    facts: dict[str, object] = {
        "enforcement": ruleset["enforcement"],
        "branches": ruleset["conditions"]["ref_name"]["include"],
        "bypass": [f"{each['actor_type']} {each['actor_id']}" for each in ruleset.get("bypass_actors") or []],
    }
    for rule in ruleset["rules"]:
        facts[f"rule {rule['type']}"] = True
        facts |= rule.get("parameters") or {}
    return facts


def _part(
    topic: str,
    answer: Answer,
    target: Facts,
    loss: str,
    requests: Sequence[Request],
    *,
    needs: str,
    creates: bool = False,
) -> Part:
    """Return the part whose facts are the answer's own; `creates`: there may be nothing yet."""
    if not answer.ok and not (creates and answer.status == 404):
        return Part(topic, {}, {}, loss, unread=_unread(answer, needs))
    return Part(topic, answer.body if answer.ok else {}, target, loss, requests)


def _unread(answer: Answer, needs: str) -> str:
    if answer.status == 0:
        return "GitHub did not answer in time: check the network, and run it again"
    return f"your token may not read this (HTTP {answer.status}): it needs the permission {needs}"


def _message(answer: Answer) -> str:
    return str(answer.body.get("message", "")) if isinstance(answer.body, dict) else ""


def _of_plan(message: str) -> bool:
    return any(part in message.lower() for part in PLAN)


def shown(value: object) -> str:
    """Return a fact as text."""
    if value is None:
        return "(none)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
