"""What `cookiecutter` makes of the template: fast, alone, complete, and the same by every way."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.bake import BIN, PRODUCT, ROOT, bake, cookiecutter, files, git, run
from tests.shape import product

PROMISED = ".github data.dvc src models bentofile.yaml params.yaml dvc.yaml tests README.md".split()
OWN = {".tools", ".venv", "data", "features"}  # made by verbs, never by the template


@pytest.mark.alone
def test_generation_takes_less_than_a_second(template: Path, tmp_path: Path) -> None:
    # given a warm file cache / when the whole command runs, starts of the interpreter and hook included
    whole, start = [], []
    for attempt in range(5):
        whole.append(seconds(partial(cookiecutter, template, tmp_path / str(attempt))))
        start.append(seconds(partial(run, [str(BIN / "cookiecutter"), "--version"], tmp_path)))
    # then the best is quick; a machine too busy to tell shows it by how long cookiecutter takes to say its version
    assert min(whole) < max(1.0, 2 * min(start)), (whole, start)


def seconds(command: Callable[[], subprocess.CompletedProcess[str]]) -> float:
    """How long a command takes by the clock; raises where it fails."""
    begin = time.perf_counter()
    command().check_returncode()
    return time.perf_counter() - begin


def test_generation_needs_no_network_and_no_other_tool(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given interpreters that refuse sockets and foreign programs, and an empty PATH
    (tmp_path / "sealed").mkdir()
    shutil.copy(ROOT / "tests/sealed.py", tmp_path / "sealed/sitecustomize.py")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "sealed"))
    monkeypatch.setenv("PATH", str(tmp_path / "sealed"))
    probe = run([str(BIN / "python"), "-c", "import socket; socket.create_connection(('127.0.0.1', 9))"], tmp_path)
    assert "the network was used" in probe.stderr
    # when
    result = cookiecutter(template, tmp_path / "out")
    # then
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out/flight-delays/README.md").is_file()


def test_what_was_promised_is_there(fresh: Path) -> None:
    # then the paths exist after the first commit too, empty folders being nothing to git
    for name in PROMISED:
        assert (fresh / name).exists(), name
    assert not OWN & {path.name for path in fresh.iterdir()}


def test_git_keeps_every_generated_file(fresh: Path, tmp_path: Path) -> None:
    # given the project as a repository / then nothing generated is ignored by its own .gitignore
    shutil.copytree(fresh, tmp_path / "copy")
    git(tmp_path / "copy", "init", "-q")
    git(tmp_path / "copy", "add", "-A")
    assert set(git(tmp_path / "copy", "ls-files").splitlines()) == set(map(str, files(fresh)))


def test_what_tools_left_in_the_template_is_no_part_of_a_project(template: Path, fresh: Path, tmp_path: Path) -> None:
    # given a working tree in which tests, types and an editor ran, their files full of braces and of bytes
    dirty = shutil.copytree(template, tmp_path / "dirty", ignore=shutil.ignore_patterns(".git"))
    left = [".hypothesis/unicode/a", ".mypy_cache/3.12/b", ".pytest_cache/c", ".ruff_cache/d", ".import_linter_cache/e"]
    left += ["src/ml/__pycache__/f", "deploy/__pycache__/g", "docs/.ipynb_checkpoints/h", "deploy/.DS_Store"]
    for number, name in enumerate(left):
        path = dirty / PRODUCT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{{ nothing }} {% if" if number % 2 else b"text \xff\xfe {{ cookiecutter")
    # when a project is made from it
    made = bake(dirty, tmp_path / "out")
    # then it is the same as from a commit
    assert set(files(made)) == set(files(fresh))
    assert {path.name for path in made.rglob("*")} == {path.name for path in fresh.rglob("*")}


def test_generating_over_a_project_leaves_what_is_its_own(template: Path, tmp_path: Path) -> None:
    made = bake(template, tmp_path / "out")
    own = [".venv/lib/__pycache__/a.pyc", "data/2013-01/.ipynb_checkpoints/b"]
    for name in own:
        (made / name).parent.mkdir(parents=True)
        (made / name).touch()
    run([str(BIN / "python"), str(template / "hooks/post_gen_project.py")], made).check_returncode()
    assert all((made / name).exists() for name in own)


def test_cruft_makes_the_same_bytes(template: Path, fresh: Path, tmp_path: Path) -> None:
    # when cruft generates from the same commit
    config = tmp_path / "rc.yaml"
    config.write_text(f"replay_dir: {tmp_path}/replay\ncookiecutters_dir: {tmp_path}/cookiecutters\n")
    options = ["-y", "--config-file", str(config), "--output-dir", str(tmp_path / "out")]
    (tmp_path / "out").mkdir()
    result = run([str(BIN / "cruft"), "create", str(template), *options], tmp_path)
    assert result.returncode == 0, result.stderr
    # then its own record is all that is more
    made = tmp_path / "out/flight-delays"
    record = json.loads((made / ".cruft.json").read_text())
    assert record["commit"] == git(template, "rev-parse", "HEAD").strip()
    assert set(files(made)) - {Path(".cruft.json")} == set(files(fresh))
    for name in files(fresh):
        assert (made / name).read_bytes() == (fresh / name).read_bytes(), name
        assert (made / name).stat().st_mode == (fresh / name).stat().st_mode, name


def test_prompts_are_few_and_explained() -> None:
    settings = json.loads((ROOT / "cookiecutter.json").read_text())
    prompts = {key for key in settings if not key.startswith("_")}
    assert len(prompts) <= 8
    assert prompts == set(settings["__prompts__"])
    assert all(len(sentence.split()) >= 6 for sentence in settings["__prompts__"].values())


def test_every_answer_is_read_by_something(template: Path) -> None:
    # given prompts and derived keys / then each stands in a file of the project, its folder's name, or another key
    settings = json.loads((ROOT / "cookiecutter.json").read_text())
    keys = {key for key in settings if not key.startswith("_") or (key.startswith("__") and key != "__prompts__")}
    read = "\n".join([PRODUCT, *map(str, settings.values()), *product(template).values()])
    assert {key for key in keys if f"cookiecutter.{key}" not in read} == set()
