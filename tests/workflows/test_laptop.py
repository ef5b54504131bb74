"""`make act`: the workflows themselves on somebody's own machine."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.bake import git
from tests.work import attempt, borrow, make
from tests.workflows.home import Home

pytestmark = pytest.mark.dear


def test_the_workflows_run_on_a_laptop_without_github(home: Home, project: Path, tmp_path: Path) -> None:
    # given a commit that changes the model, on a machine where nobody is signed in to anything
    laptop = tmp_path / "flight-delays"
    git(tmp_path, "clone", "-q", str(home.repository.path), str(laptop))
    git(laptop, "remote", "remove", "origin")
    borrow(project, laptop)
    (laptop / ".dvc/config.local").write_text(f"['remote \"storage\"']\n    url = {home.remote}\n")
    settings = yaml.safe_load((laptop / "params.yaml").read_text())
    settings["train"]["epochs"] = 4
    (laptop / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    git(laptop, "commit", "-qam", "Longer")
    (tmp_path / "home").mkdir()
    cache = subprocess.run(["uv", "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    nobody = {"HOME": str(tmp_path / "home"), "GH_TOKEN": "", "UV_CACHE_DIR": cache, "UV_OFFLINE": "1"}

    done = attempt(laptop, "act", **nobody)

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    for told in ("train: dvc.lock is not true", "epoch 4", "on a laptop: commit dvc.lock", "the verdict is green"):
        assert told in done.stdout
    # then the checkout is as it was, and the training waits in the remote
    assert git(laptop, "status", "--porcelain") == ""
    make(laptop, "restore", **nobody)
    assert git(laptop, "status", "--porcelain") == " M dvc.lock\n"
