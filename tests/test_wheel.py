"""The way out: the engine from a wheel, with no engine/ in the project; same pipeline, nothing to run, same image."""

import json
import shutil
from pathlib import Path

import pytest

from tests.bake import bake, export, git, outside, run
from tests.work import attempt, make

pytestmark = pytest.mark.dear
MADE = ("data", "features", "models", "reports", ".dvc/cache")
STALE = "from mergeworthy.adapters.dvc import stale_stages; print(*stale_stages())"
LAID_OUT = """
import sys
from pathlib import Path
from mergeworthy.release.image import _bento
print(_bento(Path(sys.argv[1]), "v1"))
"""
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
        path.write_text(before.replace("evaluate: 1", "evaluate: 0"))
        done = run([str(wheeled / ".venv/bin/python"), "-m", "mergeworthy.stages.evaluate"], wheeled, PYTHONPATH="src")
    finally:
        path.write_text(before)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "engine/src/mergeworthy/stages.yaml is not that of the engine in use" in done.stderr


def test_the_image_holds_the_installed_engine(wheeled: Path, tmp_path: Path) -> None:
    python(wheeled, "-c", LAID_OUT, str(tmp_path))
    engine = tmp_path / "bento/src/engine/src/mergeworthy"
    assert (engine / "serving/service.py").exists()
    assert (engine / "serving/app.py").exists()
    assert not (engine / "gate").exists()
    assert not (engine / "training.py").exists()
