"""dvc.yaml names all that a stage's result is made from: its modules, and the libraries that can change a number."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest
from dvc.cli import main as dvc

from pipeline import files
from pipeline.errors import UserError
from pipeline.ops.plan import stale_stages

STAGES: dict[str, dict[str, Any]] = files.read_yaml(Path("dvc.yaml"))["stages"]
PROJECT = tomllib.loads(Path("pyproject.toml").read_text())
BASE = {re.split(r"[\[=]", line)[0] for line in PROJECT["project"]["dependencies"]}
IMPORTED_AS = {"ruamel": "ruamel.yaml", "pydantic_core": "pydantic"}
SETTINGS = ["params.yaml", "gates.yaml", "infra.yaml"]
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


ALL = ["validate", "features", "train", "evaluate", "reference"]
EDITS = {  # file, what is replaced, by what, and the stages that run again, less those that only follow
    "an input removed": ("src/pipeline/ml/features/__init__.py", "NOT_INPUTS = {", 'NOT_INPUTS = {"carrier", ', ALL),
    "predict": ("src/pipeline/ml/model/__init__.py", '"""', '""" ', ["train", "evaluate", "reference"]),
    "metrics": ("src/pipeline/ml/metrics.py", '"""', '""" ', ["evaluate", "reference"]),
    "the contract": ("src/pipeline/ml/schema.py", '"""', '""" ', ALL),
    "torch": ("pyproject.toml", "torch==", "torch==9", ["train", "evaluate", "reference"]),
    "polars": ("pyproject.toml", '"polars==', '"polars==9', ALL),
    "pandera": ("pyproject.toml", "pandera[polars]==", "pandera[polars]==9", ALL),
    "onnxruntime": ("pyproject.toml", "onnxruntime==", "onnxruntime==9", ["train", "evaluate", "reference"]),
    "matplotlib": ("pyproject.toml", "matplotlib==", "matplotlib==9", ["evaluate"]),
    "the command line": ("pyproject.toml", "typer==", "typer==9", []),
    "the gate": ("src/pipeline/ops/gate/absolute.py", '"""', '""" ', []),
    "a gate's limit": ("gates.yaml", "latency_p95_ms: ", "latency_p95_ms: 1", []),
    "another way to write a number": ("params.yaml", "epochs: ", "epochs: 000", []),
}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project in a repository of its own, with outputs that dvc.lock records as those of its stages."""
    folder = tmp_path_factory.mktemp("stages") / "project"
    shutil.copytree("src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "pyproject.toml",
        "dvc.yaml",
        "params.yaml",
        "gates.yaml",
        "infra.yaml",
        ".dvcignore",
        ".gitattributes",
    ):
        shutil.copy(name, folder / name)
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
    "ignored": ({".dvcignore": lambda text: text + "network.py\n"}, "src/pipeline/ml/model/network.py is hidden"),
    "ignored there": ({"src/pipeline/ml/.dvcignore": lambda text: "model\n"}, "is hidden from DVC"),
    "ignored in an input": ({"src/pipeline/ml/model/.dvcignore": lambda text: "nothing\n"}, "dvc cannot tell"),
    "compiled": ({"src/pipeline/ml/__pycache__/params.cpython-311.pyc": lambda text: "code"}, "out of git"),
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


def test_no_module_of_ours_stands_before_a_library(graph: grimp.ImportGraph) -> None:
    used = {each.split(".")[0] for name in STAGES for each in closure(graph, f"pipeline.stages.{name}")}
    found = [path for root in (Path(), Path("src")) for path in [*root.glob("*.py"), *root.glob("*/__init__.py")]]
    ours = {path.parent.name if path.name == "__init__.py" else path.stem for path in found}
    assert ours & (used | sys.stdlib_module_names) <= {"pipeline"}


def test_a_clone_with_other_line_endings_makes_nothing_stale(
    locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("clone", "--quiet", "--config=core.autocrlf=true", str(locked), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    assert b"\r" not in Path("params.yaml").read_bytes()
    assert stale_stages() == []
