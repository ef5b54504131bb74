"""A verdict on main becomes a container in staging and a pull request for production: release.yaml, whole."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.github import Environment, PullRequest, Run
from tests.github.events import on_branch
from tests.release import cosign
from tests.release.fixtures import Engine
from tests.release.servers import free_address, serving
from tests.work import python
from tests.workflows.home import GREEN, Home, results

pytestmark = [pytest.mark.dear, pytest.mark.alone]

RELEASED = dict.fromkeys(["plan", "image", "deploy"], "success")
KNOWN = """
import json, mlflow, sys
client = mlflow.MlflowClient(sys.argv[1])
found = [client.get_model_version(one.name, one.version) for one in client.search_model_versions()]
print(json.dumps([{**one.tags, "version": one.version, "aliases": list(one.aliases)} for one in found]))
"""


@pytest.fixture
def mlflow(project: Path, tmp_path: Path) -> Iterator[str]:
    """A real MLflow server."""
    address = free_address()
    host, port = address.split(":")
    command = [str(project / ".venv/bin/mlflow"), "server", "--host", host, "--port", port, "--workers", "1"]
    command += ["--backend-store-uri", "sqlite:///m.db"]
    lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # six processes that nothing here asks for
    with serving(command, f"http://{address}/health", tmp_path, 120, **lean):
        yield f"http://{address}"


@pytest.fixture
def main(
    started: tuple[Home, Run], home: Home, engine: Engine, mlflow: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Home]:
    """The project, whose jobs have an engine, a registry and MLflow; main is given back as it was."""
    assert results(started[1]) == GREEN, started[1].log
    monkeypatch.setattr(home.repository, "actions_may_open_pulls", True)
    monkeypatch.setitem(home.repository.variables, "MLFLOW_TRACKING_URI", mlflow)
    before = str(home.repository.branch("main"))
    # the image's packages are for another Python, and may not be in the cache yet
    settings = engine.podman.settings | {"UV_OFFLINE": "false"}
    yield replace(home, machine=replace(home.machine, environment={**home.machine.environment, **settings}))
    home.alice.git("push", "-q", "--force", "origin", f"{before}:main")
    home.events()


def fresh(home: Home) -> None:
    """Let alice stand on main as it is."""
    home.alice.git("fetch", "-q", "origin")
    home.alice.git("switch", "-q", "-C", "main", "origin/main")


def judge(home: Home, verdict: str = "success") -> Run:
    """Push alice's main, and let ci.yaml judge it."""
    home.events()
    home.alice.push("main")
    (event,) = [event for event in home.events() if event.name == "push"]
    run = home.run(event)
    assert run["verdict"].result == verdict, run.log
    return run


def release(home: Home, after: Run) -> Run:
    """Run release.yaml as GitHub does after a run of ci.yaml."""
    ended = {"name": "ci", "event": after.event.name, "head_branch": "main", "conclusion": after.conclusion}
    token = home.alice.token
    event = on_branch(home.repository, token, "workflow_run", action="completed", workflow_run=ended)
    return home.run(event)


def runs(home: Home, environment: str) -> dict[str, Any]:
    """What an overlay on main says."""
    text = home.repository.read("main", f"deploy/overlays/{environment}/model/kustomization.yaml")
    return dict(yaml.safe_load(text or ""))


def promotions(home: Home) -> list[PullRequest]:
    """The pull requests for production that there were."""
    return [pull for pull in home.repository.pulls if pull.head == "promote/production"]


def merge(home: Home, pull: PullRequest) -> None:
    """Merge as a person does."""
    home.alice.run("gh", "api", "--method", "PUT", f"repos/{home.repository.full_name}/pulls/{pull.number}/merge")
    fresh(home)


def test_a_judged_model_goes_to_production_and_back(
    main: Home, engine: Engine, mlflow: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = main
    # given a commit on main whose verdict is red: nothing is released, and the run says why
    fresh(home)
    engine.use(home.alice.folder)
    public = home.alice.folder / "deploy/cosign.pub"
    closed = Environment(cosign.make_keys(public.parent), branches=("main",))
    monkeypatch.setitem(home.repository.environments, "release", closed)
    home.alice.commit("Our registry, and untidy", {"src/ml/untidy.py": "import os\n"})
    early = release(home, judge(home, "failure"))
    assert results(early) == RELEASED | {"image": "skipped"}, early.log
    assert "carries no green verdict" in early["plan"].log, early["plan"].log
    assert promotions(home) == []

    # when it is mended
    (home.alice.folder / "src/ml/untidy.py").unlink()
    first = home.alice.commit("Tidy", {})
    judged = judge(home)
    run = release(home, judged)
    # then staging runs its image by digest, signed by GitHub and the team's own key, and a pull request offers it on
    assert results(run) == RELEASED, run.log
    (image,) = runs(home, "staging")["images"]
    facts = runs(home, "staging")["commonAnnotations"]
    assert facts["model/commit"] == first
    asked = (engine.advisories / "asked").read_text()
    assert "onnxruntime " in asked  # OSV, before the push
    assert f"would attest {image['newName']}@{image['digest']}" in run["image"].log
    (claim,) = cosign.verified_claims(public, f"{image['newName']}@{image['digest']}")
    assert (claim["optional"]["commit"], claim["optional"]["lock"]) == (first, facts["model/lock"])
    (pull,) = promotions(home)
    assert image["digest"] in pull.body
    assert dict(run["deploy"].permissions) == {"contents": "write", "pull-requests": "write"}
    # and MLflow leads back to git
    (version,) = json.loads(python(project, "-c", KNOWN, mlflow))
    assert version["aliases"] == ["champion"]
    assert [version["commit"], version["lock"]] == [first, facts["model/lock"]]
    assert version["digest"] == image["digest"]

    # when it all runs again, then nothing changes
    before = home.repository.refs()
    again = release(home, judged)
    assert results(again) == RELEASED | {"image": "skipped"}, again.log
    assert (home.repository.refs(), promotions(home)) == (before, [pull])

    # when a person merges, then production runs what staging runs
    merge(home, pull)
    assert runs(home, "production")["images"] == [image]

    # when the service changes and the model does not, then it is another image of the same version
    said = {"engine/src/mergeworthy/serving/__init__.py": '"""Rows in, probabilities out."""\n'}
    second = home.alice.commit("Other words", said)
    run = release(home, judge(home))
    assert results(run) == RELEASED, run.log
    (other,) = runs(home, "staging")["images"]
    assert other["digest"] != image["digest"]
    (version,) = json.loads(python(project, "-c", KNOWN, mlflow))
    assert [version["commit"], version["digest"]] == [second, other["digest"]]
    _, pull = promotions(home)
    merge(home, pull)
    assert runs(home, "production")["images"] == [other]

    # when that promotion is reverted, then the former one runs, and the other is not offered again
    home.alice.git("revert", "--no-edit", "--mainline", "1", "HEAD")
    run = release(home, judge(home))
    assert runs(home, "production")["images"] == [image]
    assert results(run) == RELEASED | {"image": "skipped"}, run.log
    assert "revert the revert" in run["deploy"].log
    assert len(promotions(home)) == 2
