"""The boundaries that README promises: an import across one turns `make imports` red, and says where."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.attempts import refused, works
from tests.engine.product import PRODUCT

TEAM, ENGINE = "src/ml", "engine/src/mergeworthy"
FORBIDDEN = [
    (f"{TEAM}/features.py", "import httpx", "ml.features imports httpx"),
    (f"{TEAM}/features.py", "import boto3", "ml.features imports boto3"),
    (f"{TEAM}/features.py", "import asyncio", "ml.features imports asyncio"),
    (f"{TEAM}/features.py", "from pathlib import Path", "ml.features imports pathlib"),
    (f"{TEAM}/features.py", "def f():\n    import importlib\n", "ml.features imports importlib"),
    (f"{TEAM}/features.py", "from mergeworthy import holdout", "ml.features imports mergeworthy.holdout"),
    (f"{TEAM}/features.py", "from mergeworthy.project import asof", "ml.features imports mergeworthy.project"),
    (f"{TEAM}/model.py", "from mergeworthy.files import read_yaml", "ml.model imports mergeworthy.files"),
    (f"{TEAM}/model.py", "from mergeworthy.adapters import git", "ml.model imports mergeworthy.adapters.git"),
    (f"{TEAM}/model.py", "import mergeworthy.gate", "ml.model imports mergeworthy.gate"),
    (f"{TEAM}/new.py", "import mergeworthy.cli", "ml.new imports mergeworthy.cli"),
    (f"{ENGINE}/holdout.py", "from ml.features import TARGET", "mergeworthy.holdout imports ml"),
    (f"{ENGINE}/gate/checks.py", "import ml", "mergeworthy.gate.checks -> ml"),
    (f"{ENGINE}/serving/service.py", "def f():\n    from ml import project\n", "mergeworthy.serving.service -> ml"),
    (
        f"{ENGINE}/stages/evaluate.py",
        "from ..adapters import github, git",
        "mergeworthy.stages.evaluate imports mergeworthy.adapters.github",
    ),
    (
        f"{ENGINE}/stages/evaluate.py",
        "from ..gate.run import run",
        "mergeworthy.stages.evaluate -> mergeworthy.gate.run",
    ),
    (f"{ENGINE}/stages/evaluate.py", "import dvc.api", "mergeworthy.stages.evaluate imports dvc"),
    (f"{ENGINE}/holdout.py", "import subprocess", "mergeworthy.holdout imports subprocess"),
    (
        f"{ENGINE}/config/base.py",
        "from ..serving import app",
        "mergeworthy.config.base -> mergeworthy.serving.app",
    ),
    (f"{ENGINE}/adapters/git.py", "import ray", "mergeworthy.adapters.git -> ray"),
    (f"{ENGINE}/unplaced.py", "import os", "unplaced"),
]
ALLOWED = [
    (f"{TEAM}/new.py", "from mergeworthy import Dataset, asof"),
    (f"{TEAM}/new.py", "import mergeworthy.training"),
    (f"{TEAM}/new.py", "from mergeworthy.training import Run"),
    (f"{TEAM}/new.py", "from .params import Params"),
    (f"{TEAM}/new.py", "from torch.nn import functional"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imports")
    for name in ("src", "engine/src"):
        shutil.copytree(PRODUCT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "engine/pyproject.toml"):
        shutil.copy(PRODUCT / name, folder / name)
    return folder


def checked(folder: Path, file: str) -> tuple[int, str]:
    """Check the contracts of the package that the file is in; return the exit status and what was said."""
    program = str(Path(sys.executable).with_name("lint-imports"))  # tests also run where no environment is active
    paths = os.pathsep.join(map(str, (folder / "src", folder / "engine/src")))
    done = subprocess.run(
        [program, "--no-logo"],  # its cache is in the current folder: two contracts' packages do not share one
        cwd=folder / "engine" if file.startswith(ENGINE) else folder,
        env=os.environ | {"PYTHONPATH": paths, "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join(done.stdout.split())


@pytest.mark.parametrize("package", [TEAM, ENGINE])
def test_what_we_ship_keeps_the_boundaries(copy: Path, package: str) -> None:
    status, output = checked(copy, package)
    assert status == 0, output


@pytest.mark.attempts("allowed import")
@pytest.mark.parametrize(("file", "line"), ALLOWED, ids=[f"{file}: {line}" for file, line in ALLOWED])
def test_what_a_team_may_import_stays_green(copy: Path, file: str, line: str) -> None:
    with added(copy / file, line):
        status, output = checked(copy, file)
        assert status == 0, output
    works()


@pytest.mark.attempts("forbidden import")
@pytest.mark.parametrize(("file", "line", "named"), FORBIDDEN, ids=[f"{file}: {line}" for file, line, _ in FORBIDDEN])
def test_a_forbidden_import_is_red_and_named(copy: Path, file: str, line: str, named: str) -> None:
    with added(copy / file, line):
        status, said = checked(copy, file)
        assert status != 0
        assert named in said
    refused(named)


@contextmanager
def added(path: Path, line: str) -> Iterator[None]:
    """Have one line more in a file, which may be a new one, and then the file as it was."""
    before = path.read_text() if path.exists() else None
    try:
        path.write_text(f"{before or ''}\n{line}\n")
        yield
    finally:
        path.unlink() if before is None else path.write_text(before)
