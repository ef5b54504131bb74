"""The way out: the engine from a wheel, with no engine/ in the project; same pipeline, nothing to run, same image."""

import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.bake import bake, export, git, outside, run
from tests.release.fixtures import Engine
from tests.work import attempt, make

pytestmark = pytest.mark.dear
MADE = ("data", "features", "models", "reports", ".dvc/cache")
STALE = "from mergeworthy.adapters.dvc import stale_stages; print(*stale_stages())"
LINE = 'mergeworthy = { path = "engine", editable = true }'


@pytest.fixture(scope="module")
def wheeled(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained project whose engine is a wheel, in an environment of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    work = bake(export(folder / "template"), folder / "out")
    done = run(["uv", "build", "--quiet", "--wheel", "--out-dir", str(work / "wheels"), str(work / "engine")], work)
    assert done.returncode == 0, done.stderr
    (wheel,) = (work / "wheels").glob("*.whl")
    for name in MADE:
        shutil.copytree(project / name, work / name, dirs_exist_ok=True)
    for name in ("data.dvc", "dvc.lock"):
        shutil.copy(project / name, work)
    shutil.rmtree(work / "engine")
    settings = (work / "pyproject.toml").read_text()
    assert LINE in settings
    (work / "pyproject.toml").write_text(settings.replace(LINE, f'mergeworthy = {{ path = "wheels/{wheel.name}" }}'))
    git(work, "init", "-q")
    make(work, "setup")
    git(work, "add", "-A", "--", ".", ":!dvc.lock")  # no champion yet
    git(work, "commit", "-q", "-m", "The engine is a wheel")
    return work


def python(folder: Path, *words: str) -> str:
    """Return what the project's Python prints, with src/ as the only source."""
    done = run([str(folder / ".venv/bin/python"), *words], folder, **(outside() | {"PYTHONPATH": "src"}))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_stage_has_to_run_and_the_gate_judges(wheeled: Path) -> None:
    assert "site-packages" in python(wheeled, "-c", "import mergeworthy; print(mergeworthy.__file__)")
    assert python(wheeled, "-c", STALE).split() == []
    (wheeled / "reports/verdict.json").unlink()
    done = attempt(wheeled, "gate", PYTHONPATH="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((wheeled / "reports/verdict.json").read_text())["outcome"] in ("pass", "warn")


def test_other_versions_than_the_engines_are_refused_in_one_line(wheeled: Path) -> None:
    path = wheeled / "engine/src/mergeworthy/stages.yaml"
    before = path.read_text()
    try:
        path.write_text(re.sub(r"evaluate: \d+", "evaluate: 0", before))
        done = run([str(wheeled / ".venv/bin/python"), "-m", "mergeworthy.stages.evaluate"], wheeled, PYTHONPATH="src")
    finally:
        path.write_text(before)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "engine/src/mergeworthy/stages.yaml is not that of the engine in use" in done.stderr


@pytest.mark.alone  # verify-image measures latency
def test_make_image_packs_the_installed_engine_and_the_image_answers(wheeled: Path, engine: Engine) -> None:
    # given the project on this machine's base image, with its model on main
    engine.use(wheeled)
    git(wheeled, "add", "-A", "--", ".", ":!dvc.lock")
    git(wheeled, "add", "dvc.lock")
    git(wheeled, "commit", "-q", "-m", "First model")
    environment = engine.podman.settings | {"PYTHONPATH": ""}
    done = attempt(wheeled, "image", **environment)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    image = done.stdout.strip().splitlines()[-1]
    # then it holds the package from the wheel, without what the service does not need
    container = engine.podman("create", image)
    engine.podman("export", "--output", str(wheeled / "image.tar"), container)
    engine.podman("rm", container)
    with tarfile.open(wheeled / "image.tar") as archive:
        packed = {
            name.removeprefix("app/bento/src/engine/src/mergeworthy/")
            for name in archive.getnames()
            if name.startswith("app/bento/src/engine/src/mergeworthy/")
        }
    assert {"serving/service.py", "serving/app.py"} <= packed
    assert not {"gate", "training.py", "cli.py"} & packed
    # and it is started, and answers as the model was evaluated, within the limits of gates.yaml
    verified = attempt(wheeled, "verify-image", IMAGE=image, **environment)
    assert verified.returncode == 0, verified.stdout[-5000:] + verified.stderr[-5000:]
