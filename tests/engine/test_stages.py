"""dvc.yaml names all that a stage's result is made from: the team's files, the libraries that count, its version."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import grimp
import polars as pl
import pytest
import yaml
from dvc.cli import main as dvc
from tests.engine.product import PACKAGES, PRODUCT

from mergeworthy import files
from mergeworthy.adapters.dvc import stale_stages
from mergeworthy.errors import UserError

STAGES: dict[str, dict[str, Any]] = files.read_yaml(PRODUCT / "dvc.yaml")["stages"]
VERSIONS = "engine/src/mergeworthy/stages.yaml"
ENGINE = tomllib.loads((PRODUCT / "engine/pyproject.toml").read_text())["project"]
GROUPS = tomllib.loads((PRODUCT / "pyproject.toml").read_text())["dependency-groups"]
IMPORTED_AS = {"ruamel": "ruamel.yaml", "pydantic_core": "pydantic"}
SETTINGS = ["params.yaml", "gates.yaml", "infra.yaml"]
CLUSTER = {"ray"}  # starts the same stage on other machines; what trains there is what trains here
LOADED = """
import json, runpy, sys
try:
    runpy.run_module(f"mergeworthy.stages.{sys.argv[1]}", run_name="__main__")
finally:
    json.dump(sorted(sys.modules), open(f"{sys.argv[1]}.json", "w"))
"""


def named(requirement: str) -> str:
    """Name of the library that a requirement is of."""
    return re.split(r"[\[=><]", requirement)[0]


# Groups of exact versions are inputs of stages; the others are what a job installs.
PINS = {
    named(line): group
    for group, lines in GROUPS.items()
    if all(isinstance(line, str) and "==" in line for line in lines)
    for line in lines
}


@pytest.fixture(scope="module")
def loaded(
    flights: dict[str, dict[str, pl.DataFrame]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, set[str]]:
    """The modules that Python holds when a stage has come to its end, by stage: each runs on two months."""
    folder = tmp_path_factory.mktemp("loaded")
    for month in ("2013-01", "2013-02"):
        (folder / "data" / month).mkdir(parents=True)
        for table, rows in flights[month].items():
            rows.write_parquet(folder / "data" / month / f"{table}.parquet")
    for name in ("pyproject.toml", "infra.yaml", "gates.yaml"):
        (folder / name).write_text(re.sub(r"\{\{.*?\}\}", "o", (PRODUCT / name).read_text()))  # as it is generated
    params = yaml.safe_load((PRODUCT / "params.yaml").read_text())
    params["train"] |= {"epochs": 1, "width": 8, "bins": 2}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "reports").mkdir()
    found = {}
    for stage in STAGES:
        command = [sys.executable, "-c", LOADED, stage]
        subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": PACKAGES}, check=True)
        found[stage] = set(json.loads((folder / f"{stage}.json").read_text()))
    return found


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("mergeworthy", "ml", include_external_packages=True, cache_dir=None)


def file(module: str) -> str:
    path = Path("src", *module.split("."))
    return (path / "__init__.py" if (PRODUCT / path).is_dir() else path.with_suffix(".py")).as_posix()


def keys(stage: dict[str, Any], name: str) -> list[str]:
    """What a stage names of a file among its parameters."""
    return [key for each in stage["params"] if isinstance(each, dict) for key in each.get(name, [])]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_the_teams_files_that_it_loads_and_on_no_others(
    graph: grimp.ImportGraph, loaded: dict[str, set[str]], name: str
) -> None:
    assert STAGES[name]["cmd"] == f"python -m mergeworthy.stages.{name}"
    ours = {module for module in loaded[name] if module.partition(".")[0] == "ml"}
    assert "ml" in ours
    # and on those that a function of them imports, which this run may not have called
    above = {upstream for module in ours for upstream in graph.find_upstream_modules(module)}
    ours |= {module for module in above if module.partition(".")[0] == "ml"}
    assert {dep for dep in STAGES[name]["deps"] if dep.startswith("src/")} == set(map(file, ours))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_the_pins_of_the_libraries_that_it_loads_and_on_no_others(
    loaded: dict[str, set[str]], name: str
) -> None:
    used = {library for library in PINS if library in loaded[name]}
    assert set(keys(STAGES[name], "pyproject.toml")) == {f"dependency-groups.{PINS[library]}" for library in used}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_the_engine_by_its_own_version(name: str) -> None:
    assert keys(STAGES[name], VERSIONS) == [name]
    assert not [dep for dep in STAGES[name]["deps"] if dep.startswith("engine/")]


def test_every_stage_has_a_version_and_nothing_else_has() -> None:
    versions = files.read_yaml(PRODUCT / VERSIONS)
    assert versions.keys() == STAGES.keys()
    assert all(type(version) is int and version > 0 for version in versions.values())


@pytest.mark.parametrize("name", STAGES)
def test_a_library_that_a_stage_uses_is_pinned_by_the_project_or_by_the_engine(
    graph: grimp.ImportGraph, name: str
) -> None:
    module = f"mergeworthy.stages.{name}"
    used = {each.split(".")[0] for each in {module, *graph.find_upstream_modules(module)}}
    libraries = {IMPORTED_AS.get(each, each) for each in used - {"mergeworthy"} - sys.stdlib_module_names - CLUSTER}
    extras = [line for lines in ENGINE["optional-dependencies"].values() for line in lines]
    exact = {named(line) for line in [*ENGINE["dependencies"], *extras] if "==" in line}
    assert libraries <= PINS.keys() | exact


def test_the_libraries_of_which_no_version_counts_compute_nothing() -> None:
    assert {named(line) for line in ENGINE["dependencies"]} - PINS.keys() == {
        *("pydantic", "rich", "ruamel.yaml", "typer")
    }


def test_every_dependency_is_there() -> None:
    made = {path for stage in STAGES.values() for kind in ("outs", "metrics", "plots") for path in stage.get(kind, [])}
    for stage in STAGES.values():
        assert [dep for dep in stage["deps"] if dep not in made | {"data"} and not (PRODUCT / dep).exists()] == []


ALL = ["validate", "features", "train", "evaluate", "reference"]
EDITS = {  # file, what is replaced, by what, and the stages that run again, those that follow among them
    "an input removed": ("src/ml/features.py", "NOT_INPUTS = {", 'NOT_INPUTS = {"carrier", ', ALL),
    "the model": ("src/ml/model.py", '"""', '""" ', ["train", "evaluate", "reference"]),
    "the contract": ("src/ml/schema.py", '"""', '""" ', ALL),
    "torch": ("pyproject.toml", "torch==", "torch==9", ["train", "evaluate", "reference"]),
    "polars": ("pyproject.toml", '"polars==', '"polars==9', ALL),
    "pandera": ("pyproject.toml", "pandera[polars]==", "pandera[polars]==9", ALL),
    "onnxruntime": ("pyproject.toml", "onnxruntime==", "onnxruntime==9", ["evaluate", "reference"]),
    "what the checks run with": ("pyproject.toml", "ruff==", "ruff==9", []),
    "an engine's file": ("engine/src/mergeworthy/stages/train.py", '"""', '""" ', []),
    "the gate": ("engine/src/mergeworthy/gate/checks.py", '"""', '""" ', []),
    "a library of the engine": ("engine/pyproject.toml", "matplotlib==", "matplotlib==9", []),
    "the version of validate": (VERSIONS, "validate: ", "validate: 1", ALL),
    "the version of features": (VERSIONS, "features: ", "features: 1", ALL[1:]),
    "the version of train": (VERSIONS, "train: ", "train: 1", ALL[2:]),
    "the version of evaluate": (VERSIONS, "evaluate: ", "evaluate: 1", ["evaluate"]),
    "the version of reference": (VERSIONS, "reference: ", "reference: 1", ["reference"]),
    "a gate's limit": ("gates.yaml", "latency_p95_ms: ", "latency_p95_ms: 1", []),
    "another way to write a number": ("params.yaml", "epochs: ", "epochs: 000", []),
}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project in a repository of its own, with outputs that dvc.lock records as those of its stages."""
    folder = tmp_path_factory.mktemp("stages") / "project"
    for name in ("src", "engine"):
        shutil.copytree(PRODUCT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in (
        "pyproject.toml",
        "dvc.yaml",
        "params.yaml",
        "gates.yaml",
        "infra.yaml",
        ".dvcignore",
        ".gitattributes",
    ):
        shutil.copy(PRODUCT / name, folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_NO_ANALYTICS", "1")
        git("init", "--quiet", "--initial-branch=main")
        assert dvc(["init", "--quiet"]) == 0
        for stage in STAGES.values():
            for name in [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", []), "data"]:
                path = Path(name) if Path(name).suffix else Path(name) / "part"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(name)
        assert dvc(["add", "--quiet", "data"]) == 0
        assert dvc(["commit", "--quiet", "--force"]) == 0
        git("add", "--all")
        git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--message=locked")
        assert stale_stages() == []
    return folder


def git(*words: str) -> None:
    subprocess.run(["git", *words], check=True)


@pytest.mark.parametrize("edit", EDITS)
def test_what_can_change_a_number_makes_its_stages_run_again_and_nothing_else_does(
    locked: Path, monkeypatch: pytest.MonkeyPatch, edit: str
) -> None:
    path, old, new, stages = EDITS[edit]
    monkeypatch.chdir(locked)
    before = Path(path).read_text()
    assert old in before
    Path(path).write_text(before.replace(old, new, 1))
    try:
        assert stale_stages() == stages
    finally:
        Path(path).write_text(before)


HIDDEN = {  # what keeps a change of the code from being seen, and what is said
    "frozen": ({"dvc.yaml": lambda text: text.replace("  train:\n", "  train:\n    frozen: true\n")}, "train.frozen"),
    "ignored": ({".dvcignore": lambda text: text + "model.py\n"}, "src/ml/model.py is hidden"),
    "ignored there": ({"src/ml/.dvcignore": lambda text: "model.py\n"}, "is hidden from DVC"),
    "compiled": ({"src/ml/__pycache__/params.cpython-311.pyc": lambda text: "code"}, "out of git"),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_a_change_of_the_code_cannot_be_hidden_from_the_stages(
    locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    edits, words = HIDDEN[case]
    shutil.copytree(locked, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for name, edit in edits.items():
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(edit(path.read_text() if path.exists() else ""))
    git("add", "--force", *edits)
    with pytest.raises(UserError, match=re.escape(words)) as error:
        stale_stages()
    assert "\n" not in str(error.value)


def test_no_module_of_the_team_stands_before_a_library(loaded: dict[str, set[str]]) -> None:
    used = {each.split(".")[0] for modules in loaded.values() for each in modules}
    ours = {path.stem for path in (PRODUCT / "src").iterdir()} | {path.stem for path in PRODUCT.glob("*.py")}
    assert ours & (used | sys.stdlib_module_names) <= {"ml"}


def test_a_clone_with_other_line_endings_makes_nothing_stale(
    locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("clone", "--quiet", "--config=core.autocrlf=true", str(locked), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    assert b"\r" not in Path("params.yaml").read_bytes()
    assert stale_stages() == []
