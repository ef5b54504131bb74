"""One way to do a thing: git, GitHub, DVC, an atomic write and the hash that DVC uses each have one module."""

import ast
from pathlib import Path

import pytest
from tests.engine.test_call_sites import SOURCE, dotted, sources

# Program → the module that calls it, and others with the reason why they do.
PROGRAMS = {
    "git": {
        "adapters/git.py",
        "serving/app.py",  # the image holds no adapters
    },
    "gh": {
        "adapters/github.py",
        "workflow/comment.py",  # downloads CML's program: no API of a repository
    },
    "dvc": {
        "adapters/dvc.py",
        "workflow/plan.py",  # the steps of a training, which `adapters.dvc.run` executes
    },
}
HASH, ATOMIC = {"files.py"}, {"files.py"}
# Folders and files that another program writes are renamed; what we have as bytes is not.
RENAMES = {
    "data/fetch.py": "partitions' folders, under a journal",
    "serving/log.py": "a log file, from one folder to another",
    "stages/features.py": "a parquet file that polars streams",
    "workflow/comment.py": "a program that gh downloaded",
}


def programs(tree: ast.Module) -> set[str]:
    """Return the first words of the lists in a module that are a command of one of the programs."""
    lists = [node.elts for node in ast.walk(tree) if isinstance(node, ast.List) and node.elts]
    return {first.value for first, *_ in lists if isinstance(first, ast.Constant) and first.value in PROGRAMS}


def calls(tree: ast.Module) -> set[str]:
    return {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def renames(tree: ast.Module) -> bool:
    """Return whether a module moves a file over another: `path.rename(x)`, or `path.replace(x)` with one argument."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return any(
        node.func.attr == "rename" or (node.func.attr == "replace" and len(node.args) == 1 and not node.keywords)
        for node in found
        if isinstance(node.func, ast.Attribute)
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_is_called_in_its_module(program: str) -> None:
    assert {name for name, tree in sources() if program in programs(tree)} <= PROGRAMS[program]


def test_one_md5() -> None:
    assert {name for name, tree in sources() if "hashlib.md5" in calls(tree)} == HASH


def test_one_atomic_write() -> None:
    assert {name for name, tree in sources() if renames(tree)} == ATOMIC | RENAMES.keys()


@pytest.mark.parametrize("module", ["adapters/git.py", "adapters/github.py", "adapters/dvc.py"])
def test_another_way_would_be_seen(module: str) -> None:
    tree = ast.parse((Path(SOURCE) / module).read_text())
    assert programs(tree) or "subprocess.run" in calls(tree)
    assert programs(ast.parse("call(['git', 'status'])")) == {"git"}
    assert renames(ast.parse("path.replace(other)"))
    assert not renames(ast.parse("text.replace('a', 'b')"))
