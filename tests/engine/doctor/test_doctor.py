"""All of `make doctor`: a real project folder, a real DVC remote, and a `gh` that gives recorded answers."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mergeworthy.config.infra import MainBranch
from mergeworthy.extras import doctor
from mergeworthy.extras.github_settings import ruleset_body

TOKEN = "ghp_not_to_be_seen"  # noqa: S105 - made up
INFRA = """\
source: {kind: flights}
tracking: {uri: "sqlite:///mlflow.db", experiment: flights}
image: {repository: ghcr.io/acme/flights}
"""
SETTINGS = """\
secrets: [DVC_CONFIG]
environments: {release: {secrets: [APP_PRIVATE_KEY]}}
labels: {drift: {color: d93f0b, description: What the drift check leaves to people}}
"""
GH = """\
#!{python}
import json, pathlib, sys
path = sys.argv[-1]
assert sys.argv[1:5] == ["api", "--hostname", "github.com", "--include"], sys.argv
status, body = json.loads(pathlib.Path({answers!r}).read_text()).get(path, [404, {{"message": "Not Found"}}])
text = "" if body is None else json.dumps(body)
print(f"HTTP/2.0 {{status}} Some Words\\r\\nX-Oauth-Scopes: repo, workflow\\r\\n\\r\\n" + text)
sys.exit(0 if status == 200 else 1)
"""

Answers = dict[str, tuple[int, object]]
AT = "repos/acme/flights"
HEALTHY: Answers = {
    AT: (
        200,
        {
            "private": True,
            "default_branch": "trunk",
            "permissions": {"push": True, "admin": True},
            "owner": {"login": "acme", "type": "User"},
        },
    ),
    f"{AT}/actions/variables/GPU_RUNNER": (200, {"name": "GPU_RUNNER", "value": '["self-hosted", "gpu"]'}),
    f"{AT}/actions/runners?per_page=100": (
        200,
        {"runners": [{"name": "a", "status": "online", "labels": [{"name": "self-hosted"}, {"name": "gpu"}]}]},
    ),
    f"{AT}/actions/permissions/workflow": (
        200,
        {"can_approve_pull_request_reviews": True, "default_workflow_permissions": "read"},
    ),
    f"{AT}/rulesets?includes_parents=false&per_page=100": (200, [{"id": 7, "name": "default branch"}]),
    f"{AT}/rulesets/7": (200, {"id": 7, **ruleset_body(MainBranch())}),
    f"{AT}/branches/trunk": (200, {"protected": True}),
    f"{AT}/codeowners/errors": (200, {"errors": []}),
    f"{AT}/environments/release": (
        200,
        {"deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True}},
    ),
    f"{AT}/environments/release/deployment-branch-policies?per_page=100": (
        200,
        {"branch_policies": [{"id": 1, "name": "trunk"}]},
    ),
    f"{AT}/environments/release/secrets?per_page=100": (200, {"secrets": [{"name": "APP_PRIVATE_KEY"}]}),
    f"{AT}/labels/drift": (200, {"color": "d93f0b", "description": "What the drift check leaves to people"}),
    f"{AT}/vulnerability-alerts": (204, None),
    f"{AT}/actions/secrets?per_page=100": (200, {"secrets": [{"name": "DVC_CONFIG"}]}),
    f"{AT}/actions/permissions/fork-pr-workflows-private-repos": (
        200,
        dict.fromkeys(
            (
                "run_workflows_from_fork_pull_requests",
                "send_write_tokens_to_workflows",
                "send_secrets_and_variables",
                "require_approval_for_fork_pr_workflows",
            ),
            False,
        ),
    ),
    f"{AT}/pulls?per_page=1": (200, []),
    f"{AT}/commits/HEAD/check-runs?per_page=1": (200, {"check_runs": []}),
}


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def store(url: str, **options: str) -> None:
    """Write .dvc/config, as `dvc remote add` does in a second more."""
    Path(".dvc").mkdir(exist_ok=True)
    settings = "".join(f"    {name} = {value}\n" for name, value in {"url": url, **options}.items())
    Path(".dvc/config").write_text(f"[core]\n    remote = storage\n['remote \"storage\"']\n{settings}")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose DVC remote is a folder beside it, not created yet, and a driver that does not answer."""
    folder, programs = tmp_path / "flights", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    for name in ("uv", "gh", "nvidia-smi"):
        (programs / name).write_text("#!/bin/sh\nexit 1\n")
        (programs / name).chmod(0o755)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("GH_TOKEN", TOKEN)
    for name in ("MLFLOW_TRACKING_URI", "GH_HOST"):
        monkeypatch.delenv(name, raising=False)
    Path("infra.yaml").write_text(INFRA)
    Path(".github").mkdir()
    Path(".github/settings.yaml").write_text(SETTINGS)
    run("git", "init", "-q", "-b", "main")
    store("../../remotes/flights")
    Path(".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")  # DVC creates a missing one
    return folder


@pytest.fixture
def on_github(project: Path) -> Callable[[Answers], None]:
    """Return a function that adds a remote on GitHub with recorded answers."""

    def answer(answers: Answers) -> None:
        recorded = project.parent / "answers.json"
        recorded.write_text(json.dumps(answers))
        gh = project.parent / "bin" / "gh"
        gh.write_text(GH.format(python=sys.executable, answers=str(recorded)))
        run("git", "remote", "add", "origin", "git@github.com:acme/flights.git")

    return answer


def lines(output: str) -> dict[str, str]:
    """Return topic → line of the finding."""
    return {line[2:].partition(":")[0]: line for line in output.splitlines() if line[:1] in "✓!✗-" and line}


def test_a_new_project_without_github_has_no_problem(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(project.parent.rglob("*"))
    assert doctor.run() == 0
    findings = lines(capsys.readouterr().out)
    assert findings["GitHub"] == "- GitHub: skipped: no GitHub remote yet"
    assert findings["DVC remote"].startswith("✓ DVC remote: ")
    assert findings["tracking"].startswith("✓ tracking: sqlite:///mlflow.db")
    # and the checks leave nothing behind: no object, no folder, no database
    visible = [path for path in sorted(project.parent.rglob("*")) if ".dvc/tmp" not in str(path)]
    assert visible == [path for path in before if ".dvc/tmp" not in str(path)]


def test_a_healthy_project_on_github_has_no_problem(
    on_github: Callable[[Answers], None], capsys: pytest.CaptureFixture[str]
) -> None:
    on_github(HEALTHY)
    assert doctor.run() == 0
    output = capsys.readouterr().out
    findings = lines(output)
    topics = ["repository", "GPU_RUNNER", "CPU_RUNNER", "runner", "forks", "token", "actions", "code owners", "ruleset"]
    topics += ["environment release", "secrets", "secrets of release", "label drift", "Dependabot alerts", "package"]
    assert {topic: findings[topic][0] for topic in topics} == dict.fromkeys(topics, "✓")
    assert findings["DVC remote"].startswith("!")  # a folder of this machine
    assert TOKEN not in output


@pytest.mark.parametrize(
    ("path", "answer", "topic", "mark", "code"),
    [
        (f"{AT}/actions/variables/GPU_RUNNER", (200, {"value": "gpu"}), "GPU_RUNNER", "✗", 1),
        (f"{AT}/actions/runners?per_page=100", (200, {"runners": []}), "runner", "✗", 1),
        (f"{AT}/actions/runners?per_page=100", (403, {}), "runner", "!", 0),
        (f"{AT}/rulesets?includes_parents=false&per_page=100", (200, []), "ruleset", "!", 0),
        (f"{AT}/codeowners/errors", (200, {"errors": [{"path": "x", "line": 1, "kind": "y"}]}), "code owners", "✗", 1),
        (f"{AT}/environments/release", (404, {}), "environment release", "!", 0),
        (f"{AT}/actions/secrets?per_page=100", (200, {"secrets": []}), "secrets", "!", 0),
        (f"{AT}/actions/permissions/fork-pr-workflows-private-repos", (403, {}), "forks", "!", 0),
        (AT, (404, {}), "repository", "✗", 1),
    ],
)
def test_one_deviation_is_named_and_only_a_problem_fails(
    path: str,
    answer: tuple[int, object],
    topic: str,
    mark: str,
    code: int,
    on_github: Callable[[Answers], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_github(HEALTHY | {path: answer})
    assert doctor.run() == code
    assert lines(capsys.readouterr().out)[topic][0] == mark


def test_a_remote_that_cannot_be_written_is_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project.parent / "remotes").touch()  # a file in the place of the folder
    assert doctor.run() == 1
    output = capsys.readouterr().out
    assert "✗ DVC remote: " in output
    assert "Not a directory" in output
    assert "Traceback" not in output


def test_a_remote_that_never_answers_does_not_hang(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dvc_s3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts the connection and sends nothing
        store("s3://acme/flights", endpointurl=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert doctor.run() == 1
    assert "✗ DVC remote: s3://acme/flights: no answer within 5 s" in capsys.readouterr().out


def test_a_mistake_in_infra_yaml_is_one_line_and_the_rest_is_still_checked(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("infra.yaml").write_text(INFRA + "trackng: {}\n")
    assert doctor.run() == 1
    output = capsys.readouterr().out
    assert "✗ infra.yaml: infra.yaml: trackng" in output
    assert "GitHub: skipped" in output


def test_who_does_not_administer_is_sent_to_somebody_who_does(
    on_github: Callable[[Answers], None], capsys: pytest.CaptureFixture[str]
) -> None:
    status, body = HEALTHY[AT]
    assert isinstance(body, dict)
    on_github(HEALTHY | {AT: (status, body | {"permissions": {"push": True}})})
    assert doctor.run() == 0
    assert lines(capsys.readouterr().out)["settings"].startswith("! settings: only an administrator may read")


def test_a_mistake_in_the_settings_is_one_line(
    on_github: Callable[[Answers], None], capsys: pytest.CaptureFixture[str]
) -> None:
    on_github(HEALTHY)
    Path(".github/settings.yaml").write_text("labls: {}")
    assert doctor.run() == 1
    assert "✗ settings: .github/settings.yaml: labls" in capsys.readouterr().out
