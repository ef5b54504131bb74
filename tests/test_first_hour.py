"""docs/first-hour.md, command by command, against the stand-in of GitHub, which runs what the pushes start."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.bake import PRODUCT, ROOT, git, run
from tests.github import HOSTED, GitHub, Run
from tests.readme import commands
from tests.work import borrow, make, own_code
from tests.workflows.home import GREEN, results, settle

PAGE = ROOT / PRODUCT / "docs/first-hour.md"
KEY = "the-app.private-key.pem"

pytestmark = pytest.mark.dear


class Hour:
    """A person with the page, a small project whose first run is committed, and an empty repository."""

    def __init__(self, github: GitHub, project: Path, folder: Path) -> None:
        home = settle(github, project, folder)
        self.github, self.repository, self.folder = github, home.repository, home.alice.folder
        self.home = replace(home, machine=replace(home.machine, runners=[HOSTED]))
        self.remote = self.repository.secrets.pop("DVC_CONFIG")
        (self.folder / ".dvc/config.local").write_text(self.remote)
        self.repository.variables.clear()
        self.token = github.token("user", "alice", self.repository.full_name)
        self.left = commands(PAGE)
        borrow(project, self.folder)
        make(self.folder, "data", "pipeline")
        git(self.folder, "remote", "remove", "origin")
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "-q", "-m", "The first run")
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

    def workflow(self) -> Run:
        """Run the workflow that the last push or pull request started."""
        return self.home.run(self.home.events()[-1])


def test_the_page_leads_from_an_empty_repository_to_a_release(github: GitHub, project: Path, tmp_path: Path) -> None:
    hour = Hour(github, project, tmp_path)
    repository = hour.repository

    # 1. the settings
    printed = hour.until("gh secret set DVC_CONFIG < .dvc/config.local")
    assert "✓ environment release: " in printed
    assert "push main first" in printed
    assert set(repository.secrets) == {"DVC_CONFIG"}
    assert "remote" not in repository.secrets["DVC_CONFIG"]
    repository.secrets["DVC_CONFIG"] = hour.remote  # GitHub opens what gh sealed; the stand-in cannot
    assert repository.actions_may_open_pulls
    assert not repository.rulesets

    # 2. of the first push ci.yaml finds nothing to train, and then main is protected
    hour.until("git push --set-upstream origin main")
    first = hour.workflow()
    assert first.conclusion == "success", first.log
    assert results(first)["train / train"] == "skipped"
    assert hour.home.verdicts(repository.branch("main")) == ["success"]
    assert "✓ ruleset: " in hour.until("make github")
    assert repository.protected == {"main": ("verdict",)}

    # 3. the first pull request is trained, judged and merged
    hour.until("gh pr create --fill")
    (pull,) = repository.pulls
    second = hour.workflow()
    assert results(second) == GREEN, second.log
    lock = second["train / report"].outputs["commit"]
    assert pull.head_sha == lock
    (comment,) = pull.comments
    assert "train.epochs" in comment.body
    hour.until("git pull")
    assert pull.merged
    assert yaml.safe_load((hour.folder / "params.yaml").read_text())["train"]["epochs"] == 5
    assert hour.home.model("main") == hour.home.model(lock)

    # 4. the App of the release
    settings = hour.folder / ".github/settings.yaml"
    content = yaml.safe_load(settings.read_text())
    content["default_branch"]["bypass_apps"], content["variables"] = [42], {"APP_CLIENT_ID": "Iv1.app"}
    settings.write_text(yaml.safe_dump(content))
    printed = hour.until("make doctor")
    assert '✓ ruleset: bypass ["Integration 42"]' in printed
    assert repository.variables == {"APP_CLIENT_ID": "Iv1.app"}
    assert set(repository.environments["release"].secrets) == {"APP_PRIVATE_KEY"}
    topics = ("ruleset", "environment release", "secrets", "secrets of release", "actions", "variable APP_CLIENT_ID")
    for topic in topics:
        assert f"✓ {topic}: as .github/settings.yaml says" in printed
    hour.until("make status")
    assert not hour.left
    github.assert_no_unknown()
