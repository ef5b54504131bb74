"""The rights of the token, and the settings of the repository."""

import pytest

from mergeworthy.adapters.git import parse
from mergeworthy.adapters.github import Answer, parse_answer
from mergeworthy.extras import doctor
from mergeworthy.extras.doctor import Level
from mergeworthy.extras.github_settings import Part

MINE = Answer(200, {"private": True, "permissions": {"push": True}})
FINE, FORBIDDEN, MISSING, SILENT = Answer(200, []), Answer(403), Answer(404), Answer(0)


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
    finding = doctor.repository_finding("acme/flights", answer, "github.com")
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
    finding = doctor.token(repository, pulls, checks)
    assert finding.level == (Level.WARNING if lacks else Level.OK)
    assert (lacks or "may use contents, pull requests and checks") in finding.says


def test_an_unknown_code_owner_is_a_problem() -> None:
    error = {"path": ".github/CODEOWNERS", "line": 3, "kind": "Unknown owner"}
    finding = doctor.code_owners(Answer(200, {"errors": [error]}))
    assert finding.level == Level.PROBLEM
    assert ".github/CODEOWNERS, line 3: Unknown owner" in finding.says
    assert doctor.code_owners(Answer(200, {"errors": []})).level == Level.OK


def test_a_setting_that_differs_is_a_warning_with_the_verb_that_mends_it() -> None:
    parts = [
        Part("actions", {"x": False}, {"x": True}, "no pull request is opened"),
        Part("secrets", {}, {"DVC_CONFIG": "set"}, "", by_hand="`gh secret set NAME`"),
        Part("ruleset", {}, {}, "whoever may write can push", unavailable="GitHub Free has none"),
        Part("forks", {}, {}, "", unread="your token may not read this (HTTP 403)"),
        Part("labels", {"x": 1}, {"x": 1}, ""),
    ]
    differs, by_hand, unavailable, unread, fine = doctor.settings_findings(parts)
    assert [each.level for each in (differs, by_hand, unavailable, unread)] == [Level.WARNING] * 4
    assert differs.says == "x is false, not true, so no pull request is opened"
    assert "`make github`" in differs.remedy
    assert by_hand.remedy == "`gh secret set NAME`"
    assert unavailable.says == "GitHub Free has none, so whoever may write can push"
    assert "may not read" in unread.says
    assert (fine.level, fine.says) == (Level.OK, "as .github/settings.yaml says")
