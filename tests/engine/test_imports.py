"""The boundaries that README promises: an import across one turns `make imports` red, and says where."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.attempts import refused

FORBIDDEN = [
    ("ml/calibration.py", "import httpx", "ml.calibration imports httpx"),
    ("ml/calibration.py", "import boto3", "ml.calibration imports boto3"),
    ("ml/calibration.py", "import asyncio", "ml.calibration imports asyncio"),
    ("ml/calibration.py", "from pathlib import Path", "ml.calibration imports pathlib"),
    ("ml/calibration.py", "def f():\n    import importlib\n", "ml.calibration imports importlib"),
    ("ml/calibration.py", "from .. import holdout", "ml.calibration imports mergeworthy.holdout"),
    ("ml/model/rows.py", "from ...files import read_yaml", "ml.model.rows imports mergeworthy.files"),
    ("stages/evaluate.py", "from ..ops import github, release", "mergeworthy.stages.evaluate -> mergeworthy.ops.github"),
    ("stages/plots.py", "from ..ops.gate import run", "mergeworthy.stages.plots -> mergeworthy.ops.gate"),
    ("stages/plots.py", "import dvc.api", "mergeworthy.stages.plots imports dvc"),
    ("holdout.py", "import subprocess", "mergeworthy.holdout imports subprocess"),
    ("settings/strict.py", "from ..serving import app", "mergeworthy.settings.strict -> mergeworthy.serving.app"),
    ("ops/git.py", "import ray", "mergeworthy.ops.git -> ray"),
    ("unplaced.py", "import os", "unplaced"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imports")
    shutil.copytree("src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    for name in ("pyproject.toml", "tests/allowed_imports.py"):
        shutil.copy(name, folder / name)
    return folder


def checked(folder: Path) -> tuple[int, str]:
    program = str(Path(sys.executable).with_name("lint-imports"))  # tests also run where no environment is active
    command = [program, "--no-logo", f"--cache-dir={folder / 'cache'}"]
    environment = os.environ | {"PYTHONPATH": "src", "COLUMNS": "1000"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, " ".join(done.stdout.split())


def test_what_we_ship_keeps_the_boundaries(copy: Path) -> None:
    status, told = checked(copy)
    assert status == 0, told


@pytest.mark.attempts("forbidden import")
@pytest.mark.parametrize(("file", "line", "told"), FORBIDDEN, ids=[f"{file}: {line}" for file, line, _ in FORBIDDEN])
def test_a_forbidden_import_is_red_and_named(copy: Path, file: str, line: str, told: str) -> None:
    # given one line more in a file
    path = copy / "engine/src/mergeworthy" / file
    before = path.read_text() if path.exists() else None
    try:
        path.write_text(f"{before or ''}\n{line}\n")
        # when / then
        status, said = checked(copy)
        assert status != 0
        assert told in said
        refused(told)
    finally:
        path.unlink() if before is None else path.write_text(before)
