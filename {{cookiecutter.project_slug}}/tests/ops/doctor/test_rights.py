"""What the token may do and what the repository's settings allow."""

import pytest

from pipeline.ops.doctor import rights
from pipeline.ops.doctor.answers import Answer, read
from pipeline.ops.doctor.finding import Level
from pipeline.ops.doctor.origin import parse

MINE = Answer(200, {"private": True, "permissions": {"push": True}})
FINE, FORBIDDEN, MISSING, SILENT = Answer(200, []), Answer(403), Answer(404), Answer(0)
RULE = {"type": "required_status_checks", "parameters": {"required_status_checks": [{"context": "verdict"}]}}
PROTECTION = {"protected": True, "protection": {"required_status_checks": {"contexts": ["verdict"]}}}


@pytest.mark.parametrize(
    ("url", "gh_host", "found"),
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
def test_the_remote_tells_the_repository(url: str, gh_host: str | None, found: tuple[str, str] | None) -> None:
    assert parse(url, gh_host) == found


def test_an_answer_is_read_whatever_line_ends_gh_prints() -> None:
    text = 'HTTP/2.0 403 Forbidden\r\nX-Oauth-Scopes: repo, gist\r\n\r\n{"message": "no"}\n'
    answer = read(text)
    assert (
        answer == read(text.replace("\r\n", "\n")) == Answer(403, {"message": "no"}, {"x-oauth-scopes": "repo, gist"})
    )
    assert read("") is read("error connecting to api.github.com\n") is None


@pytest.mark.parametrize(
    ("answer", "level", "says"),
    [
        (MINE, Level.OK, "private"),
        (Answer(401), Level.WARNING, "gh is not signed in to github.com"),
        (MISSING, Level.PROBLEM, "your token may not see it"),
        (SILENT, Level.WARNING, "did not answer within 5 s"),
    ],
)
def test_a_repository_nobody_sees_is_a_problem_and_a_network_that_is_down_is_not(
    answer: Answer, level: Level, says: str
) -> None:
    finding = rights.repository("acme/flights", answer, "github.com")
    assert finding.level == level
    assert says in finding.says


@pytest.mark.parametrize(
    ("repository", "pulls", "checks", "lacks"),
    [
        (MINE, FINE, FINE, None),
        (Answer(200, {"permissions": {"push": False}}), FINE, FINE, "contents: write"),
        (MINE, FORBIDDEN, FORBIDDEN, "pull requests: read, checks: read"),
        (MINE, FINE, Answer(409), None),  # an empty repository has no commit to have checks
        (Answer(200, MINE.body, {"x-oauth-scopes": "repo, gist"}), FINE, FINE, "scope workflow"),
        (Answer(200, MINE.body, {"x-oauth-scopes": ""}), FINE, FINE, None),  # fine-grained: has none
    ],
)
def test_what_the_token_lacks_is_named(repository: Answer, pulls: Answer, checks: Answer, lacks: str | None) -> None:
    finding = rights.token(repository, pulls, checks)
    assert finding.level == (Level.WARNING if lacks else Level.OK)
    assert (lacks or "open to it") in finding.says


@pytest.mark.parametrize(
    ("rules", "branch", "level"),
    [
        (Answer(200, [RULE]), Answer(200, {"protected": True}), Level.OK),
        (FORBIDDEN, Answer(200, PROTECTION), Level.OK),  # rulesets cost money in private repositories
        (Answer(200, [{"type": "deletion"}]), Answer(200, {"protected": False}), Level.WARNING),
        (FORBIDDEN, FORBIDDEN, Level.WARNING),
        (MISSING, MISSING, Level.WARNING),
    ],
)
def test_main_demands_the_verdict_by_ruleset_or_by_protection(rules: Answer, branch: Answer, level: Level) -> None:
    assert rights.required_check(rules, branch).level == level


@pytest.mark.parametrize(("allowed", "level"), [(True, Level.OK), (False, Level.WARNING)])
def test_a_retraining_must_be_allowed_to_open_its_pull_request(allowed: bool, level: Level) -> None:
    assert rights.may_open_pull_requests(Answer(200, {"can_approve_pull_request_reviews": allowed})).level == level
    assert "Administration: read" in rights.may_open_pull_requests(FORBIDDEN).mend


def test_a_public_repository_with_a_machine_of_its_own_is_warned() -> None:
    public = Answer(200, {"private": False})
    assert rights.exposed(public, None) is rights.exposed(MINE, ["gpu"]) is None
    warned = rights.exposed(public, ["gpu"])
    assert warned is not None
    assert warned.level == Level.WARNING
