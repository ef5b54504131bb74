"""dvc.yaml names all that a stage's result is made from: its modules, and the libraries that can change a number."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest

from pipeline import files

STAGES: dict[str, dict[str, Any]] = files.read_yaml(Path("dvc.yaml"))["stages"]
PROJECT = tomllib.loads(Path("pyproject.toml").read_text())
BASE = {re.split(r"[\[=]", line)[0] for line in PROJECT["project"]["dependencies"]}
IMPORTED_AS = {"ruamel": "ruamel.yaml", "pydantic_core": "pydantic"}
CLUSTER = {"ray"}  # starts the same stage on other machines; what trains there is what trains here


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pipeline", include_external_packages=True, cache_dir=None)


def closure(graph: grimp.ImportGraph, module: str) -> set[str]:
    """All modules that a stage imports, directly or by way of others, and itself."""
    return {module, *graph.find_upstream_modules(module)}


def file(module: str) -> Path:
    path = Path("src", *module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def parts(stage: dict[str, Any], kind: str) -> Iterator[Path]:
    yield from (Path(name) for name in stage[kind])


def pins(stage: dict[str, Any]) -> set[str]:
    """Libraries whose pins the stage names."""
    named = [each["pyproject.toml"] for each in stage["params"] if "pyproject.toml" in each]
    groups = [key.removeprefix("dependency-groups.") for keys in named for key in keys]
    pinned = [line for group in groups for line in PROJECT["dependency-groups"][group]]
    return {re.split(r"[\[=]", line)[0] for line in pinned}


def is_plain(path: Path) -> bool:
    """Whether a package's own file only passes on names of its modules: then nothing in it decides a result."""
    body = ast.parse(path.read_text()).body
    kept = ast.Import | ast.ImportFrom | ast.Constant
    return all(
        isinstance(node, kept)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"])
        for node in body
    )


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_every_module_that_it_imports(graph: grimp.ImportGraph, name: str) -> None:
    stage, module = STAGES[name], f"pipeline.stages.{name}"
    assert stage["cmd"] == f"python -m {module}"
    deps = list(parts(stage, "deps"))
    ours = {each for each in closure(graph, module) if each.startswith("pipeline.")}
    missing = {each for each in map(file, ours) if not any(each == dep or dep in each.parents for dep in deps)}
    assert missing == set()
    # and Python runs the packages above a module too
    above = {Path("src", *each.split(".")[:depth]) / "__init__.py" for each in ours for depth in range(1, 5)}
    left = {each for each in above - set(map(file, ours)) if each.exists()}
    unnamed = {each for each in left if not any(each == dep or dep in each.parents for dep in deps)}
    assert {each for each in unnamed if not is_plain(each)} <= {Path("src/pipeline/__init__.py")}  # ORT's telemetry off


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_the_pins_of_the_libraries_that_it_uses(graph: grimp.ImportGraph, name: str) -> None:
    used = {each.split(".")[0] for each in closure(graph, f"pipeline.stages.{name}")}
    others = used - {"pipeline"} - sys.stdlib_module_names - CLUSTER
    wanted = {IMPORTED_AS.get(each, each) for each in others} - BASE
    assert wanted <= pins(STAGES[name])


def test_the_libraries_of_which_no_version_counts_compute_nothing() -> None:
    assert {"pydantic", "rich", "ruamel.yaml", "typer"} == BASE


def test_every_dependency_is_there() -> None:
    made = {path for stage in STAGES.values() for kind in ("outs", "metrics", "plots") for path in stage.get(kind, [])}
    for stage in STAGES.values():
        assert [dep for dep in stage["deps"] if dep not in made | {"data"} and not Path(dep).exists()] == []
