"""What a project runs tells nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("module", "silent"), [("mergeworthy.holdout", True), ("onnxruntime", False)])
def test_onnx_runtime_keeps_no_identity_to_send(tmp_path: Path, module: str, silent: bool) -> None:
    # given nothing in the environment that would switch it off, when it is imported through the project, or alone
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-B", "-c", f"import {module}"], env=environment, check=True)
    # then only alone it leaves who it is and what it has to upload
    assert ([*tmp_path.iterdir()] == []) == silent
