"""docs/first-hour.md, command by command, against the stand-in of GitHub; what CI does meanwhile is in tests/workflows."""

from pathlib import Path

import pytest
import yaml

from tests.bake import PRODUCT, ROOT, git, run
from tests.github import Clone, GitHub
from tests.github.fixtures import bot
from tests.readme import commands
from tests.work import clone, own_code

PAGE = ROOT / PRODUCT / "docs/first-hour.md"
KEY = "the-app.private-key.pem"

pytestmark = pytest.mark.dear


class Hour:
    """A person with the page, a project whose first run is committed, and an empty repository."""

    def __init__(self, github: GitHub, project: Path, folder: Path) -> None:
        self.github, self.repository = github, github.create("acme/flights")
        # The owner may bypass nothing once the rule is there, but the stand-in knows no first push to a protected branch.
        self.token = github.token("user", "alice", self.repository.full_name)
        self.folder, self.left = clone(project, folder / "flights"), commands(PAGE)
        (self.folder / "dvc.lock").write_bytes((project / "dvc.lock").read_bytes())
        remote = f"['remote \"storage\"']\n    url = {folder}/remote\n"
        cache = f"[cache]\n    dir = {project}/.dvc/cache\n"
        (self.folder / ".dvc/config.local").write_text(remote + cache)
        git(self.folder, "remote", "remove", "origin")
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "-q", "-m", "The first run")
        git(self.folder, "branch", "-q", "--move", "main")
        helper = '!f() { echo username=x-access-token; echo "password=$GH_TOKEN"; }; f'
        git(self.folder, "config", "credential.helper", helper)
        (self.folder / KEY).write_text("-----the key-----\n")

    def until(self, last: str) -> str:
        """Run the page's commands up to and including `last`; what they print."""
        printed = ""
        while True:
            command = self.left.pop(0)
            as_typed = command.replace("OWNER/NAME", self.repository.full_name)
            environment = own_code(self.folder) | self.github.client_environment(self.token)
            done = run(["bash", "-euo", "pipefail", "-c", as_typed], self.folder, **environment)
            assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            printed += done.stdout + done.stderr
            if command == last:
                return printed


def test_the_page_leads_from_an_empty_repository_to_a_release(
    github: GitHub, project: Path, tmp_path: Path
) -> None:
    hour = Hour(github, project, tmp_path)
    repository = hour.repository

    # 1. the settings
    printed = hour.until("gh secret set DVC_CONFIG < .dvc/config.local")
    assert "✓ environment release: " in printed
    assert "push main first" in printed
    assert set(repository.secrets) == {"DVC_CONFIG"}
    assert repository.actions_may_open_pulls
    assert not repository.rulesets

    # 2. the first push starts ci.yaml, and then main is protected
    hour.until("git push --set-upstream origin main")
    assert [(event.name, event.ref) for event in github.events()] == [("push", "refs/heads/main")]
    assert any((tmp_path / "remote").rglob("*"))
    assert "✓ ruleset: " in hour.until("make github")
    assert repository.protected == {"main": ("verdict",)}

    # 3. the first pull request waits for its verdict, which a job gives
    hour.until("gh pr create --fill")
    (pull,) = repository.pulls
    assert "pull_request" in [event.name for event in github.events()]
    job = Clone(github, repository, bot(github, repository, contents="read", checks="write"), tmp_path / "job")
    check = ("gh", "api", f"repos/{repository.full_name}/check-runs", "-f", "name=verdict")
    job.run(*check, "-f", f"head_sha={pull.head_sha}", "-f", "conclusion=success")
    hour.until("git pull")
    assert pull.merged
    assert yaml.safe_load((hour.folder / "params.yaml").read_text())["train"]["epochs"] == 4

    # 4. the App of the release
    settings = hour.folder / ".github/settings.yaml"
    content = yaml.safe_load(settings.read_text())
    content["default_branch"]["bypass_apps"], content["variables"] = [42], {"APP_CLIENT_ID": "Iv1.app"}
    settings.write_text(yaml.safe_dump(content))
    printed = hour.until("make doctor")
    assert '✓ ruleset: bypass ["Integration 42"]' in printed
    assert repository.variables == {"APP_CLIENT_ID": "Iv1.app"}
    assert set(repository.environments["release"].secrets) == {"APP_PRIVATE_KEY"}
    for topic in ("ruleset", "environment release", "secrets", "secrets of release", "actions", "variable APP_CLIENT_ID"):
        assert f"✓ {topic}: as .github/settings.yaml says" in printed
    hour.until("make status")
    assert not hour.left
    github.assert_no_unknown()
