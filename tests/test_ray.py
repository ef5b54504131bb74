"""Training and a search on a Ray cluster of two machines that have the packages, but neither the code nor the data."""

import csv
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bake import ROOT, git, outside, run
from tests.work import clone, make, python

pytestmark = pytest.mark.dear

PATIENCE = 180  # seconds for what takes some
STAGE = ["python", "-m", "mergeworthy.stages.train"]
REPRO = ["dvc", "repro", "--single-item", "--force", "--no-run-cache", "train"]
CUT = """
import pathlib, polars
for number, file in enumerate(sorted(pathlib.Path("features").glob("*.parquet"))):
    polars.read_parquet(file).head(8_000).write_parquet(file) if number < 3 else file.unlink()
"""


@dataclass
class Cluster:
    """What runs, and which of its processes is at what."""

    process: subprocess.Popen[str]
    address: str = ""
    machines: list[int] = field(default_factory=list)  # process ids of what stands for a machine

    def at(self, work: str) -> dict[int, int]:
        """Process ids of workers that are at it → the machine of each."""
        found = run(["ps", "-eo", "pid=,ppid=,args="], ROOT).stdout.splitlines()
        told = [line.split(maxsplit=2) for line in found]
        return {int(pid): int(of) for pid, of, name in told if int(of) in self.machines and name.startswith(work)}

    def until(self, happens: Callable[[], Any]) -> None:
        """Wait for it."""
        end = time.monotonic() + PATIENCE
        while not happens():
            assert time.monotonic() < end
            time.sleep(0.1)


def change(project: Path, name: str, **blocks: dict[str, Any]) -> None:
    """Change some keys of blocks in a settings file."""
    content = yaml.safe_load((project / name).read_text())
    (project / name).write_text(
        yaml.safe_dump(content | {key: content.get(key, {}) | to for key, to in blocks.items()})
    )


def start(project: Path, *command: str) -> subprocess.Popen[str]:
    """Start a program of the project's environment, with the project's code."""
    paths = outside() | {"PYTHONPATH": f"{project}/src:{project}/engine/src", "RAY_USAGE_STATS_ENABLED": "0"}
    paths["PATH"] = f"{project}/.venv/bin{os.pathsep}{paths['PATH']}"
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=project, env=os.environ | paths, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def told(process: subprocess.Popen[str], status: int = 0) -> list[str]:
    """Wait for the end; give the lines of what went well, or else of what is said to be wrong."""
    out, wrong = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, out + wrong
    return (wrong if status else out).splitlines()


def losses(project: Path) -> list[float]:
    """Of each epoch."""
    with (project / "reports/training.csv").open() as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def small(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project that was trained without Ray."""
    folder = clone(project, tmp_path_factory.mktemp("ray") / "small")
    shutil.copytree(project / "features", folder / "features")
    python(folder, "-c", CUT)
    change(folder, "params.yaml", train={"epochs": 4, "width": 64})
    change(folder, "infra.yaml", compute={"device": "cpu", "threads": 1})
    (folder / "sweep.yaml").write_text((folder / "sweep.yaml").read_text().replace("trials: 20", "trials: 4"))
    told(start(folder, *REPRO))
    return folder


@pytest.fixture(scope="module")
def cluster(small: Path) -> Iterator[Cluster]:
    """Two machines, set up by the project's own verb; then `small` borrows their environment, and names them."""
    machines = small.parent / "machines"
    git(small.parent, "clone", "-q", str(small), str(machines))
    change(machines, "infra.yaml", ray={"address": "ray://127.0.0.1:1"})
    shutil.copytree((small / ".venv").resolve(), machines / ".venv", symlinks=True, copy_function=os.link)
    make(machines, "setup")
    shutil.rmtree(machines / "src")
    (small / ".venv").unlink()
    (small / ".venv").symlink_to(machines / ".venv")
    found = Cluster(start(machines, "python", str(ROOT / "tests/cluster.py")))
    assert found.process.stdin
    assert found.process.stdout
    ready = found.process.stdout.readline()
    assert ready, found.process.communicate()
    port, *found.machines = map(int, ready.split())
    change(small, "infra.yaml", ray={"address": f"ray://127.0.0.1:{port}"})
    yield found
    found.process.communicate(timeout=PATIENCE)


def test_without_the_package_or_a_cluster_it_ends_in_a_sentence(small: Path, tmp_path: Path) -> None:
    folder = clone(small, tmp_path / "alone")
    shutil.copytree(small / "features", folder / "features")
    change(folder, "infra.yaml", ray={"address": "ray://127.0.0.1:1"})
    (line,) = told(start(folder, *STAGE), status=1)
    assert line == "error: infra.yaml: ray: the package is not installed here: run `make setup`"


def test_a_training_that_is_killed_there_goes_on_there_and_ends_as_it_would_here(small: Path, cluster: Cluster) -> None:
    # given what came of the training without Ray
    lock, model = (small / "dvc.lock").read_text(), (small / "models/model.onnx").read_bytes()
    (small / "models/model.onnx").unlink()
    # when a machine's worker is killed in the middle, then that is one sentence
    training = start(small, *STAGE)
    assert training.stdout
    assert any("epoch 2" in line for line in training.stdout), told(training, status=1)
    (worker,) = cluster.at("ray::Machine")
    os.kill(worker, signal.SIGKILL)
    (line,) = told(training, status=1)
    assert line.startswith("error: Ray at ray://127.0.0.1:")
    # and when it is run again, then it goes on, and ends with the same bytes and the same lock
    said = told(start(small, *REPRO))
    assert "resuming the training from its checkpoint:" in said
    assert [line[:10] for line in said if "epoch" in line] == [f"epoch {number}/4:" for number in range(1, 5)]
    assert (small / "models/model.onnx").read_bytes() == model
    assert yaml.safe_load((small / "dvc.lock").read_text()) == yaml.safe_load(lock)
    assert not (small / ".cache/checkpoints").exists()


def test_two_machines_train_the_same_within_noise(small: Path, cluster: Cluster) -> None:
    one = losses(small)
    change(small, "infra.yaml", compute={"nodes": 2})
    training = start(small, *STAGE)
    cluster.until(lambda: set(cluster.at("ray::Machine").values()) == set(cluster.machines))
    told(training)
    change(small, "infra.yaml", compute={"nodes": 1})
    assert losses(small) == pytest.approx(one, abs=0.02)


def test_trials_run_on_both_machines_and_outlive_one_of_them(small: Path, cluster: Cluster) -> None:
    # when a machine is lost while trials run on both
    search = start(small, "make", "sweep")
    cluster.until(lambda: set(cluster.at("ray::_try").values()) == set(cluster.machines))
    assert cluster.process.stdin
    cluster.process.stdin.write("\n")
    cluster.process.stdin.flush()
    # then all of them are made, each in MLflow, and none twice
    said = told(search)
    assert sum(line.startswith("trial ") for line in said) == 4
    count = "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); "
    count += "print(len(mlflow.search_runs(experiment_names=['flight-delays-sweeps'])))"
    assert python(small, "-c", count).split() == ["4"]
    assert "0 of 4 trials to go" in make(small, "sweep")
    # and with the head gone too, there is one sentence
    cluster.process.communicate(timeout=PATIENCE)
    (line,) = told(start(small, *STAGE), status=1)
    assert line.startswith("error: no Ray cluster answers at ray://127.0.0.1:")
