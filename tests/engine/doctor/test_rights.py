"""The rights of the token, and the settings of the repository."""

import pytest

from mergeworthy.adapters.git import parse
from mergeworthy.extras import doctor_github
from mergeworthy.extras.doctor_github import Answer, parse_answer
from mergeworthy.extras.findings import Level

MINE = Answer(200, {"private": True, "permissions": {"push": True}})
FINE, FORBIDDEN, MISSING, SILENT = Answer(200, []), Answer(403), Answer(404), Answer(0)


def requiring(**source: int | None) -> dict[str, object]:
    """A ruleset's rule: the check `verdict`, of one app or of any."""
    checks = [{"context": "lint"}, {"context": "verdict", **source}]
    return {"type": "required_status_checks", "parameters": {"required_status_checks": checks}}


def protected(*checks: dict[str, object]) -> dict[str, object]:
    """A branch's protection by the check `verdict`, of one app or of any."""
    required = {"contexts": ["verdict"], **({"checks": list(checks)} if checks else {})}
    return {"protected": True, "protection": {"required_status_checks": required}}


@pytest.mark.parametrize(
    ("url", "gh_host", "location"),
    [
        ("https://github.com/acme/flights.git", None, ("github.com", "acme/flights")),
        ("https://someone:secret@github.com/acme/flights", None, ("github.com", "acme/flights")),
        ("git@github.com:acme/flights.git", None, ("github.com", "acme/flights")),
        ("ssh://git@ssh.github.com:443/acme/flights.git", None, ("github.com", "acme/flights")),
        ("https://git.acme.example/acme/flights/", "ghe.acme.example", ("ghe.acme.example", "acme/flights")),
        ("/srv/git/flights.git", None, None),
        ("../flights.git", None, None),
        ("file:///srv/git/flights", None, None),
        ("git@github.com:flights.git", None, None),
    ],
)
def test_the_repository_is_read_from_the_remote(
    url: str, gh_host: str | None, location: tuple[str, str] | None
) -> None:
    assert parse(url, gh_host) == location


def test_an_answer_is_read_with_any_line_ends() -> None:
    text = 'HTTP/2.0 403 Forbidden\r\nX-Oauth-Scopes: repo, gist\r\n\r\n{"message": "no"}\n'
    answer = parse_answer(text)
    assert (
        answer
        == parse_answer(text.replace("\r\n", "\n"))
        == Answer(403, {"message": "no"}, {"x-oauth-scopes": "repo, gist"})
    )
    assert parse_answer("") is parse_answer("error connecting to api.github.com\n") is None


@pytest.mark.parametrize(
    ("answer", "level", "says"),
    [
        (MINE, Level.OK, "private"),
        (Answer(401), Level.WARNING, "gh is not signed in to github.com"),
        (MISSING, Level.PROBLEM, "your token may not see it"),
        (SILENT, Level.WARNING, "did not answer within 5 s"),
    ],
)
def test_an_invisible_repository_is_a_problem_and_a_network_that_is_down_is_not(
    answer: Answer, level: Level, says: str
) -> None:
    finding = doctor_github.repository_finding("acme/flights", answer, "github.com")
    assert finding.level == level
    assert says in finding.says


@pytest.mark.parametrize(
    ("repository", "pulls", "checks", "lacks"),
    [
        (MINE, FINE, FINE, None),
        (Answer(200, {"permissions": {"push": False}}), FINE, FINE, "contents: write"),
        (MINE, FORBIDDEN, FORBIDDEN, "pull requests: read, checks: read"),
        (MINE, FINE, Answer(409), None),  # an empty repository has no commit with checks
        (Answer(200, MINE.body, {"x-oauth-scopes": "repo, gist"}), FINE, FINE, "scope workflow"),
        (Answer(200, MINE.body, {"x-oauth-scopes": ""}), FINE, FINE, None),  # fine-grained: has none
    ],
)
def test_the_missing_rights_of_the_token_are_named(
    repository: Answer, pulls: Answer, checks: Answer, lacks: str | None
) -> None:
    finding = doctor_github.token(repository, pulls, checks)
    assert finding.level == (Level.WARNING if lacks else Level.OK)
    assert (lacks or "may use contents, pull requests and checks") in finding.says


@pytest.mark.parametrize(
    ("rules", "branch", "level"),
    [
        (Answer(200, [requiring(integration_id=15368)]), Answer(200, {"protected": True}), Level.OK),
        # rulesets cost money in private repositories
        (FORBIDDEN, Answer(200, protected({"context": "verdict", "app_id": 15368})), Level.OK),
        (Answer(200, [requiring(), requiring(integration_id=15368)]), FORBIDDEN, Level.OK),  # each rule counts
        (Answer(200, [{"type": "deletion"}]), Answer(200, {"protected": False}), Level.WARNING),
        (FORBIDDEN, FORBIDDEN, Level.WARNING),
        (MISSING, MISSING, Level.WARNING),
    ],
)
def test_main_requires_the_verdict_by_ruleset_or_by_protection(rules: Answer, branch: Answer, level: Level) -> None:
    finding = doctor_github.required_check(rules, branch)
    assert finding.level == level
    assert "any app" not in finding.says


@pytest.mark.parametrize(
    ("rules", "branch", "words"),
    [
        (Answer(200, [requiring()]), Answer(200, {"protected": True}), "any app or token can report it"),
        (Answer(200, [requiring(integration_id=None)]), FORBIDDEN, "any app or token can report it"),
        (FORBIDDEN, Answer(200, protected()), "any app or token can report it"),
        (FORBIDDEN, Answer(200, protected({"context": "verdict", "app_id": -1})), "any app or token can report it"),
        (FORBIDDEN, Answer(200, protected({"context": "verdict", "app_id": None})), "any app or token can report it"),
        (Answer(200, [requiring(integration_id=7)]), FORBIDDEN, "is required of app 7, which is not GitHub Actions"),
        (Answer(200, []), Answer(200, protected({"context": "lint", "app_id": 15368})), "is not required, so a red"),
    ],
)
def test_a_verdict_that_any_app_may_report_is_a_warning(rules: Answer, branch: Answer, words: str) -> None:
    finding = doctor_github.required_check(rules, branch)
    assert finding.level == Level.WARNING
    assert words in finding.says
    assert words.startswith("is not required, so") or "GitHub Actions (app 15368)" in finding.remedy


@pytest.mark.parametrize(("allowed", "level"), [(True, Level.OK), (False, Level.WARNING)])
def test_a_retraining_must_be_allowed_to_open_its_pull_request(allowed: bool, level: Level) -> None:
    assert (
        doctor_github.may_open_pull_requests(Answer(200, {"can_approve_pull_request_reviews": allowed})).level == level
    )
    assert "Administration: read" in doctor_github.may_open_pull_requests(FORBIDDEN).remedy


SENDS = {"run_workflows_from_fork_pull_requests": True, "require_approval_for_fork_pr_workflows": True}


@pytest.mark.parametrize(
    ("private", "settings", "level", "says"),
    [
        (False, Answer(200, {"approval_policy": "all_external_contributors"}), Level.OK, "waits for approval"),
        (False, Answer(200, {"approval_policy": "first_time_contributors"}), Level.WARNING, "without approval"),
        (True, Answer(200, {"run_workflows_from_fork_pull_requests": False}), Level.OK, "run no workflow"),
        (True, Answer(200, SENDS), Level.OK, "wait for approval"),
        (
            True,
            Answer(200, SENDS | {"require_approval_for_fork_pr_workflows": False}),
            Level.WARNING,
            "without approval",
        ),
        (True, Answer(200, SENDS | {"send_secrets_and_variables": True}), Level.WARNING, "your secrets"),
        (True, FORBIDDEN, Level.WARNING, "may not read this"),
    ],
)
def test_a_fork_must_not_reach_self_hosted_machines(private: bool, settings: Answer, level: Level, says: str) -> None:
    finding = doctor_github.forks(Answer(200, {"private": private}), settings)
    assert finding.level == level
    assert says in finding.says


def rule(kind: str, **parameters: object) -> dict[str, object]:
    return {"type": kind, "parameters": parameters}


PROTECTED, BARE = Answer(200, {"protected": True}), Answer(200, {"protected": False})
OWNED = Answer(200, [rule("pull_request", require_code_owner_review=True)])
STRICT = Answer(200, [rule("required_status_checks", strict_required_status_checks_policy=True)])
CLASSIC = Answer(
    200,
    {
        "required_pull_request_reviews": {"require_code_owner_reviews": True},
        "required_status_checks": {"strict": True},
    },
)


@pytest.mark.parametrize(
    ("rules", "owners", "current"),
    [
        (doctor_github.Rules(OWNED, PROTECTED, MISSING), "required", "not"),
        (doctor_github.Rules(STRICT, PROTECTED, MISSING), "not", "required"),
        (
            doctor_github.Rules(Answer(200, [rule("merge_queue", grouping="x")]), PROTECTED, FORBIDDEN),
            "not",
            "required",
        ),
        (doctor_github.Rules(FORBIDDEN, PROTECTED, CLASSIC), "required", "required"),
        (doctor_github.Rules(FINE, PROTECTED, Answer(200, {})), "not", "not"),
        (doctor_github.Rules(FINE, BARE, MISSING), "not", "not"),
        (doctor_github.Rules(FINE, PROTECTED, MISSING), "unknown", "unknown"),  # not an administrator
        (doctor_github.Rules(SILENT, SILENT, SILENT), "unknown", "unknown"),
    ],
)
def test_main_must_require_an_owners_review_and_branches_that_are_up_to_date(
    rules: doctor_github.Rules, owners: str, current: str
) -> None:
    for finding, expected in (
        (doctor_github.code_owners(rules, FINE_OWNERS), owners),
        (doctor_github.up_to_date(rules), current),
    ):
        unread = "may not read" in finding.says or "did not answer" in finding.says
        assert finding.level == (Level.OK if expected == "required" else Level.WARNING)
        assert unread == (expected == "unknown")


FINE_OWNERS = Answer(200, {"errors": []})


def test_an_unknown_code_owner_is_a_problem() -> None:
    error = {"path": ".github/CODEOWNERS", "line": 3, "kind": "Unknown owner"}
    finding = doctor_github.code_owners(
        doctor_github.Rules(OWNED, PROTECTED, CLASSIC), Answer(200, {"errors": [error]})
    )
    assert finding.level == Level.PROBLEM
    assert ".github/CODEOWNERS, line 3: Unknown owner" in finding.says


CUSTOM = Answer(200, {"deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True}})


@pytest.mark.parametrize(
    ("environment", "branches", "level", "says"),
    [
        (CUSTOM, ["main"], Level.OK, "open to main alone"),
        (CUSTOM, ["main", "release/*"], Level.WARNING, "open to main, release/*"),
        (CUSTOM, None, Level.WARNING, "may not read this"),
        (Answer(200, {"deployment_branch_policy": {"protected_branches": True}}), [], Level.OK, "protected branches"),
        (Answer(200, {"deployment_branch_policy": None}), [], Level.WARNING, "open to every branch"),
        (MISSING, None, Level.WARNING, "`release` is missing"),
        (FORBIDDEN, None, Level.WARNING, "may not read this"),
    ],
)
def test_the_environment_of_a_release_is_open_to_main_alone(
    environment: Answer, branches: list[str] | None, level: Level, says: str
) -> None:
    policies = (
        FORBIDDEN if branches is None else Answer(200, {"branch_policies": [{"name": name} for name in branches]})
    )
    finding = doctor_github.release_environment(environment, policies, "main")
    assert finding.level == level
    assert says in finding.says


def test_secrets_that_sign_must_not_be_secrets_of_the_repository() -> None:
    assert doctor_github.exposed_secrets(Answer(200, {"secrets": [{"name": "DVC_CONFIG"}]})).level == Level.OK
    finding = doctor_github.exposed_secrets(
        Answer(200, {"secrets": [{"name": "REGISTRY_PASSWORD"}, {"name": "DVC_CONFIG"}]})
    )
    assert finding.level == Level.WARNING
    assert "can read REGISTRY_PASSWORD of the repository" in finding.says
