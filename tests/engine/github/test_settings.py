"""`make github` against the stand-in of GitHub: its API, its permissions and the limits of a plan."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.engine.product import PRODUCT
from tests.github import Clone, Environment, GitHub, Organization, Repository, Token
from tests.tools import require

from mergeworthy import config
from mergeworthy.config.infra import REPOSITORY
from mergeworthy.errors import UserError
from mergeworthy.extras import github_settings

Settings = dict[str, Any]
EVERYTHING = ("actions", "forks", "environment release", "label drift", "label no-retraining", "secret scanning")
EVERYTHING += ("Dependabot alerts", "private reports", "ruleset")


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHub]:
    require("git", "gh")
    with GitHub(tmp_path / "github") as server:
        yield server
        server.assert_no_unknown()


@pytest.fixture
def flights(github: GitHub) -> Repository:
    return github.create("acme/flights")


@pytest.fixture
def enter(github: GitHub, flights: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Clone]:
    """Return a function that enters a project's folder, whose `origin` is the stand-in, as somebody with a token."""

    def go(token: Token | None = None, *, pushed: bool = True) -> Clone:
        token = token or github.token("user", "alice", flights.full_name, bypass=True)
        clone = Clone(github, flights, token, tmp_path / token.login / "flights")
        (clone.folder / ".github").mkdir()
        (clone.folder / REPOSITORY).write_text((PRODUCT / REPOSITORY).read_text())
        infra = re.sub(r"\{\{.*?\}\}", "x", (PRODUCT / "infra.yaml").read_text())
        (clone.folder / "infra.yaml").write_text(infra.replace("ghcr.io/x/x", "ghcr.io/acme/flights"))
        if pushed:
            clone.commit("Start", {})
            clone.push("main")
        monkeypatch.chdir(clone.folder)
        for name, value in github.client_environment(token).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("GH_HOST", raising=False)
        return clone

    return go


def settings(**changes: Any) -> None:
    """Change keys of the settings' blocks in the file."""
    content: Settings = yaml.safe_load(REPOSITORY.read_text())
    for block, keys in changes.items():
        content[block] = content[block] | keys if isinstance(keys, dict) else keys
    REPOSITORY.write_text(yaml.safe_dump(content))


def printed(capsys: pytest.CaptureFixture[str], *, check: bool = False) -> tuple[int, str]:
    code = github_settings.run(check=check)
    return code, capsys.readouterr().out


def test_a_new_repository_becomes_what_the_file_says_and_a_second_run_changes_nothing(
    github: GitHub, flights: Repository, enter: Callable[..., Clone], capsys: pytest.CaptureFixture[str]
) -> None:
    # given a new repository with secrets / when its differences are shown
    enter()
    flights.secrets["DVC_CONFIG"] = "a secret's value"
    code, diff = printed(capsys, check=True)
    # then each is named, and nothing was written
    assert code == 1
    assert "ruleset: required_status_checks\n  - (none)\n" in diff
    assert '  + [{"context": "verdict", "integration_id": 15368}]\n' in diff
    assert {method for method, _ in github.requests if method != "GET"} <= {"POST"}  # git's own, over HTTP
    assert not flights.rulesets
    # and `make github` closes them, but for the one secret that only a person has
    code, done = printed(capsys)
    assert code == 0
    for topic in EVERYTHING:
        assert f"✓ {topic}: " in done, done
    assert "→ secrets of release: APP_PRIVATE_KEY: `gh secret set NAME --env release" in done
    assert flights.default_permissions == "read"
    assert flights.actions_may_open_pulls
    assert flights.forks == {"approval_policy": "all_external_contributors"}
    assert flights.environments["release"].branches == ("main",)
    assert flights.labels["no-retraining"]["color"] == "c5def5"
    assert flights.security == dict.fromkeys(
        ("secret_scanning", "secret_scanning_push_protection", "alerts", "reports"), True
    )
    # then a second run writes nothing
    flights.environments["release"].secrets["APP_PRIVATE_KEY"] = "the key"
    github.requests.clear()
    code, done = printed(capsys)
    assert (code, done) == (0, "nothing to change: the repository is what .github/settings.yaml says\n")
    assert {method for method, _ in github.requests} == {"GET"}
    assert printed(capsys, check=True) == (0, "the repository is what .github/settings.yaml says\n")


def test_the_ruleset_requires_the_verdict_of_github_actions_and_a_review(
    flights: Repository, enter: Callable[..., Clone], github: GitHub, tmp_path: Path
) -> None:
    enter()
    github_settings.run(check=False)
    (ruleset,) = flights.rulesets.values()
    rules = {rule["type"]: rule.get("parameters", {}) for rule in ruleset["rules"]}
    assert set(rules) == {"deletion", "non_fast_forward", "pull_request", "required_status_checks"}
    assert rules["required_status_checks"]["strict_required_status_checks_policy"]
    assert rules["pull_request"]["require_code_owner_review"]
    assert ruleset["conditions"]["ref_name"]["include"] == ["~DEFAULT_BRANCH"]
    # then a colleague pushes to main no more
    bob = Clone(github, flights, github.token("user", "bob", flights.full_name), tmp_path / "bob")
    bob.commit("Straight to main", {"x": ""})
    assert "Changes must be made through a pull request" in bob.attempt("git", "push", "origin", "HEAD:main").stderr


def test_an_empty_repository_gets_its_ruleset_after_the_first_push(
    flights: Repository, enter: Callable[..., Clone], capsys: pytest.CaptureFixture[str]
) -> None:
    clone = enter(pushed=False)
    code, done = printed(capsys)
    assert code == 0
    assert "push main first (`git push -u origin main`), then run `make github` again" in done
    assert not flights.rulesets
    assert printed(capsys, check=True)[0] == 1
    clone.commit("Start", {})
    clone.push("main")
    assert "✓ ruleset: " in printed(capsys)[1]
    assert flights.rulesets


def test_what_somebody_changed_by_hand_is_shown_and_taken_back(
    flights: Repository, enter: Callable[..., Clone], capsys: pytest.CaptureFixture[str]
) -> None:
    enter()
    flights.secrets["DVC_CONFIG"] = "x"
    github_settings.run(check=False)
    flights.environments["release"].secrets["APP_PRIVATE_KEY"] = "x"
    (ruleset,) = flights.rulesets.values()
    ruleset["enforcement"] = "disabled"
    ruleset["rules"] = [rule for rule in ruleset["rules"] if rule["type"] != "pull_request"]
    ruleset["rules"].append({"type": "required_linear_history"})
    flights.environments["release"].branches = ("main", "release/*", "old")
    flights.environments["release"].rules = [
        {"type": "required_reviewers", "reviewers": [{"type": "User", "reviewer": {"id": 7}}]}
    ]
    flights.labels["drift"]["color"] = "000000"
    capsys.readouterr()

    code, diff = printed(capsys, check=True)

    assert code == 1
    for line in (
        "ruleset: enforcement\n  - disabled\n  + active",
        "ruleset: rule pull_request\n  - (none)\n  + true",
        "ruleset: rule required_linear_history\n  - true\n  + (none)",
        'environment release: branches\n  - ["main", "old", "release/*"]\n  + ["main"]',
        "label drift: color\n  - 000000\n  + d93f0b",
    ):
        assert line in diff, diff
    assert printed(capsys)[0] == 0
    assert printed(capsys, check=True)[0] == 0
    assert flights.environments["release"].branches == ("main",)
    assert flights.environments["release"].rules  # the reviewers stay


def test_an_environment_that_was_open_keeps_its_reviewers(flights: Repository, enter: Callable[..., Clone]) -> None:
    enter()
    reviewers = {"type": "required_reviewers", "reviewers": [{"type": "Team", "reviewer": {"id": 7}}]}
    flights.environments["release"] = Environment(rules=[{"type": "wait_timer", "wait_timer": 30}, reviewers])
    github_settings.run(check=False)
    release = flights.environments["release"]
    assert release.branches == ("main",)
    assert [rule["type"] for rule in release.rules] == ["wait_timer", "required_reviewers"]


def test_variables_queue_and_apps_are_taken_over(
    flights: Repository, enter: Callable[..., Clone], capsys: pytest.CaptureFixture[str]
) -> None:
    flights.organization = Organization(secrets={"DVC_CONFIG": "shared"})
    flights.variables |= {"CPU_RUNNER": "old", "OTHER": "stays"}
    enter()
    settings(
        default_branch={"freshness": "merge_queue", "bypass_apps": [42]},
        variables={"GPU_RUNNER": ["self-hosted", "gpu"], "CPU_RUNNER": ["ubuntu-24.04"], "APP_CLIENT_ID": "Iv1"},
    )
    assert github_settings.run(check=False) == 0
    assert flights.variables == {
        "CPU_RUNNER": '["ubuntu-24.04"]', "GPU_RUNNER": '["self-hosted", "gpu"]', "APP_CLIENT_ID": "Iv1",
        "OTHER": "stays",
    }  # fmt: skip
    (ruleset,) = flights.rulesets.values()
    assert [rule["type"] for rule in ruleset["rules"]][-1] == "merge_queue"
    assert [actor["actor_id"] for actor in ruleset["bypass_actors"]] == [42]
    output = capsys.readouterr().out
    assert "→ secrets:" not in output  # the organisation's is one, too


def test_no_value_of_a_secret_is_read_or_printed(
    flights: Repository, enter: Callable[..., Clone], capsys: pytest.CaptureFixture[str]
) -> None:
    enter()
    flights.secrets |= {"REGISTRY_PASSWORD": "hunter2", "APP_PRIVATE_KEY": "hunter3"}
    _, diff = printed(capsys, check=True)
    assert "secrets: DVC_CONFIG\n  - (none)\n  + set" in diff
    for name in ("REGISTRY_PASSWORD", "APP_PRIVATE_KEY"):
        assert f"secrets: {name}\n  - open to every branch\n  + in its environment alone" in diff
    assert "`gh secret delete NAME`" in diff
    assert "hunter" not in diff


def test_a_private_repository_on_github_free_is_shown_what_it_lacks(
    flights: Repository, enter: Callable[..., Clone], capsys: pytest.CaptureFixture[str]
) -> None:
    flights.private = flights.free = True
    flights.secrets["DVC_CONFIG"] = "x"
    enter()
    code, done = printed(capsys)
    assert code == 0
    for topic, loss in (
        ("ruleset", "whoever may write can push to the default branch, past the verdict and the reviewers"),
        ("environment release", "a job of any branch can read the secrets that release"),
        ("secrets of release", "set them as secrets of the repository"),
    ):
        assert re.search(rf"^! {topic}: a private repository has none on GitHub Free, so {loss}", done, re.MULTILINE)
    assert "! secret scanning: off in this private repository, so a secret in a commit is not noticed" in done
    assert flights.forks == {}  # off is GitHub's own default there
    assert flights.security == {"alerts": True}
    # then nothing is left to do
    assert printed(capsys, check=True)[0] == 0


def test_what_a_plan_refuses_only_when_it_is_set_costs_no_other_setting(
    flights: Repository, enter: Callable[..., Clone], capsys: pytest.CaptureFixture[str]
) -> None:
    flights.private = True
    enter()
    settings(security={"scan_for_secrets": True})
    code, done = printed(capsys)
    assert code == 0
    assert "Secret scanning is not available for this repository." in done
    assert "so a secret in a commit is not noticed" in done
    assert flights.rulesets


def test_a_refusal_is_one_line_and_the_rest_is_set(
    flights: Repository, enter: Callable[..., Clone], capsys: pytest.CaptureFixture[str]
) -> None:
    enter()  # a person owns the repository, so it has no merge queue
    settings(default_branch={"freshness": "merge_queue"})
    code, done = printed(capsys)
    assert code == 1
    (line,) = [line for line in done.splitlines() if line.startswith("✗")]
    assert line.startswith("✗ ruleset: GitHub refused POST repos/acme/flights/rulesets: ")
    assert "merge_queue" in line
    assert flights.environments["release"].branches == ("main",)


@pytest.mark.parametrize("check", [True, False])
def test_a_token_that_does_not_administer_gets_one_line(
    check: bool, github: GitHub, flights: Repository, enter: Callable[..., Clone], capsys: pytest.CaptureFixture[str]
) -> None:
    enter(github.token("user", "bob", flights.full_name, permissions={"contents": "write", "issues": "write"}))
    with pytest.raises(UserError, match="your token does not administer acme/flights"):
        github_settings.run(check=check)
    assert capsys.readouterr().out == ""
    assert not flights.labels


def test_what_a_token_may_not_read_is_named_with_the_permission(
    github: GitHub, flights: Repository, enter: Callable[..., Clone], capsys: pytest.CaptureFixture[str]
) -> None:
    granted = {"administration": "write", "contents": "write", "actions": "read", "issues": "write", "packages": "read"}
    enter(github.token("user", "carol", flights.full_name, permissions=granted, bypass=True))
    code, done = printed(capsys)
    assert code == 1
    assert "? secrets: your token may not read this (HTTP 403): it needs the permission Secrets" in done
    assert "? secrets of release: your token may not read this (HTTP 403): it needs the permission Environments" in done
    assert flights.rulesets


@pytest.mark.parametrize(
    ("package", "packages", "says"),
    [
        (None, "read", ""),
        ("acme/flights", "read", ""),
        ("acme/other", "read", "package: repository\n  - acme/other\n  + acme/flights\n"),
        ("acme/flights", "none", "! package: cannot be read: `gh auth refresh --scopes read:packages`"),
    ],
)
def test_a_package_of_another_repository_is_named_before_the_first_release(
    package: str | None, packages: Any, says: str, github: GitHub, flights: Repository,
    enter: Callable[..., Clone], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    flights.package = package
    token = github.token("user", "dave", flights.full_name, bypass=True)
    everything = {**token.permissions, "packages": packages}
    enter(github.token("user", "dora", flights.full_name, permissions=everything, bypass=True))
    _, diff = printed(capsys, check=True)
    assert says in diff
    assert bool(says) == ("package:" in diff)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("default_brnch: {}", "default_brnch"),
        ("default_branch: {approvals: -1}", "default_branch.approvals"),
        ("default_branch: {freshness: never}", "default_branch.freshness"),
        ("variables: {GPU_RUNNER: gpu}", "variables.GPU_RUNNER must be a list of labels"),
        ("variables: {gpu: x}", "variables"),
        ("labels: {drift: {color: red}}", "labels.drift.color"),
        ("secrets: [DVC_CONFIG=hunter2]", "secrets"),
        ("secrets: [KEY]\nenvironments: {release: {secrets: [KEY]}}", "KEY is a secret of an environment"),
        ("environments: {release: {branches: []}}", "environments.release.branches"),
    ],
)
def test_settings_that_cannot_be_meant_are_one_line(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".github").mkdir()
    (tmp_path / REPOSITORY).write_text(text)
    with pytest.raises(UserError) as error:
        config.repository()
    assert str(error.value).startswith(".github/settings.yaml")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_without_a_remote_on_github_one_line_names_the_way_to_it(
    enter: Callable[..., Clone], monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = enter()
    clone.git("remote", "remove", "origin")
    with pytest.raises(UserError, match="gh repo create"):
        github_settings.run(check=True)
    subprocess.run(["git", "remote", "add", "origin", "https://github.com/acme/none.git"], check=True)
    with pytest.raises(UserError, match=r"github\.com shows no repository acme/none"):
        github_settings.run(check=True)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="gh is not installed"):
        github_settings.run(check=True)


def test_every_secret_and_variable_of_the_workflows_is_in_the_settings() -> None:
    text = "".join(path.read_text() for path in (PRODUCT / ".github/workflows").glob("*.yaml"))
    asked = config.repository()
    listed = {*asked.secrets, *asked.optional_secrets} | asked.restricted
    assert set(re.findall(r"\bsecrets\.([A-Z_]+)", text)) == listed
    comments = REPOSITORY.read_text().partition("variables:")[2].partition("labels:")[0]
    assert set(re.findall(r"\bvars\.([A-Z_]+)", text)) == set(re.findall(r"^# +([A-Z_]+):", comments, re.MULTILINE))
