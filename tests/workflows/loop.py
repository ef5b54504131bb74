"""`make loop`: the generated workflows themselves, from a first push to the image that serves the retrained model.

Not among the tests that `make test` collects: there each workflow is run for itself, and this takes as long again.
"""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.github import Environment, Event, Run
from tests.github.events import on_branch
from tests.release.fixtures import Engine
from tests.work import attempt, borrow, make
from tests.workflows.home import Home

pytestmark = pytest.mark.dear
EASY = {"auc": {"min": 0.1}, "log_loss": {"max": 9}}  # a small network is to be good enough


@pytest.fixture
def main(home: Home, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """The project, whose jobs have an engine and a registry, with an App for releases alone; main comes back."""
    name, repository = home.repository.full_name, home.repository
    monkeypatch.setattr(repository, "actions_may_open_pulls", True)
    monkeypatch.setitem(repository.variables, "APP_CLIENT_ID", "Iv1.app")
    closed = Environment({"APP_PRIVATE_KEY": "-----the key-----"}, branches=("main",))
    monkeypatch.setitem(repository.environments, "release", closed)
    app = home.github.token(
        "app", "flights-app[bot]", name, permissions={"contents": "write", "pull-requests": "write"}
    )
    settings = engine.podman.settings | {"UV_OFFLINE": "false", "APP_TOKEN": app.value}
    before = str(repository.branch("main"))
    yield replace(home, machine=replace(home.machine, environment={**home.machine.environment, **settings}))
    home.alice.git("push", "-q", "--force", "origin", f"{before}:main")
    home.events()


def step(text: str) -> None:
    """Say what comes next, where pytest lets it through (-s)."""
    print(f"▶ {text}", flush=True)


def judged(home: Home) -> Run:
    """The run of ci.yaml that the last push or pull request started; it is green."""
    event = home.events()[-1]
    run = home.run(event)
    assert run["verdict"].result == "success", run.log
    return run


def after(home: Home, name: str, **payload: Any) -> Event:
    """An event on main."""
    return on_branch(home.repository, home.alice.token, name, **payload)


def merged(home: Home, number: int) -> None:
    """Merge as a person does, and stand on main."""
    home.alice.run("gh", "api", "--method", "PUT", f"repos/{home.repository.full_name}/pulls/{number}/merge")
    home.alice.git("fetch", "-q", "origin")
    home.alice.git("switch", "-q", "-C", "main", "origin/main")


def borrowed(home: Home, project: Path) -> Path:
    """The maintainer's checkout, with an environment and the DVC remote."""
    folder = home.alice.folder
    borrow(project, folder)
    (folder / ".dvc/config.local").write_text(home.repository.secrets["DVC_CONFIG"])
    return folder


def test_the_loop_from_the_first_push_to_the_retrained_model(main: Home, engine: Engine, project: Path) -> None:
    home = main
    step("the first push was trained and judged; now a champion may be a month old, and the registry is ours")
    home.alice.git("fetch", "-q", "origin")
    home.alice.git("switch", "-q", "-C", "main", "origin/main")
    engine.use(home.alice.folder)
    gates = yaml.safe_load((home.alice.folder / "gates.yaml").read_text())
    gates["drift"]["maximum_age"], gates["floors"], gates["beats_baseline"] = 20, EASY, ["log_loss"]
    gates["champion"]["margins"], gates["slices"]["margin"] = dict.fromkeys(gates["champion"]["margins"], 5), 5
    gates.pop("anchor", None)  # its margins follow the champion's
    home.alice.commit("Our policy", {"gates.yaml": yaml.safe_dump(gates, sort_keys=False)})
    home.alice.push("main")
    judged(home)
    champion = home.model("origin/main")

    step("drift.yaml: April has come, so a pull request arrives, trained and judged")
    chosen = {"workflow": ".github/workflows/drift.yaml", "inputs": {"until": "2013-04"}}
    run = home.run(after(home, "workflow_dispatch", **chosen))
    assert run.conclusion == "success", run.log
    pull = [one for one in home.repository.pulls if one.head == "retrain/auto"][-1]
    assert "2013-04" in pull.body

    step("a person merges; ci.yaml finds main green")
    merged(home, pull.number)
    run = judged(home)
    retrained = home.model("origin/main")
    assert retrained != champion

    step("release.yaml: the image of the retrained model goes to staging, and is offered to production")
    ended = {"name": "ci", "event": "push", "head_branch": "main", "conclusion": run.conclusion}
    run = home.run(after(home, "workflow_run", action="completed", workflow_run=ended))
    assert run.conclusion == "success", run.log
    promotion = [one for one in home.repository.pulls if one.head == "promote/production"][-1]

    step("a person merges; what production names is started, and answers as the retrained model was judged")
    merged(home, promotion.number)
    lock = str(home.repository.read("main", "dvc.lock"))
    overlay = yaml.safe_load(str(home.repository.read("main", "deploy/overlays/production/model/kustomization.yaml")))
    (image,) = overlay["images"]
    assert overlay["commonAnnotations"]["model/lock"] == md5(lock.encode(), usedforsecurity=False).hexdigest()
    folder = borrowed(home, project)
    name = f"{image['newName']}@{image['digest']}"
    engine.podman("pull", "--quiet", name)
    make(folder, "restore")
    # Its other checks passed in release.yaml: what a busy machine measures is not asked again.
    said = attempt(folder, "verify-image", f"IMAGE={name}", **engine.podman.settings).stdout
    (line,) = [line for line in said.splitlines() if "golden predictions" in line]
    assert "✅" in line, said
    step("done")
