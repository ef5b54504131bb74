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

TIMEOUT = 180  # seconds
STAGE = ["python", "-m", "mergeworthy.stages.train"]
REPRO = ["dvc", "repro", "--single-item", "--force", "--no-run-cache", "train"]
CUT = """
import pathlib, polars
for number, file in enumerate(sorted(pathlib.Path("features").glob("*.parquet"))):
    polars.read_parquet(file).head(8_000).write_parquet(file) if number < 3 else file.unlink()
"""


@dataclass
class Cluster:
    """The process that runs the cluster, and the process ids of its machines."""

    process: subprocess.Popen[str]
    address: str = ""
    machines: list[int] = field(default_factory=list)

    def workers(self, work: str) -> dict[int, int]:
        """Return process id → machine of the workers that do this work."""
        lines = run(["ps", "-eo", "pid=,ppid=,args="], ROOT).stdout.splitlines()
        processes = [line.split(maxsplit=2) for line in lines]
        return {
            int(pid): int(parent)
            for pid, parent, name in processes
            if int(parent) in self.machines and name.startswith(work)
        }

    def wait_until(self, condition: Callable[[], Any]) -> None:
        """Wait until the condition is true."""
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.1)


def change(project: Path, name: str, **sections: dict[str, Any]) -> None:
    """Change keys in sections of a settings file."""
    content = yaml.safe_load((project / name).read_text())
    (project / name).write_text(
        yaml.safe_dump(content | {key: content.get(key, {}) | to for key, to in sections.items()})
    )


def start(project: Path, *command: str) -> subprocess.Popen[str]:
    """Start a program of the project's environment, with the project's code."""
    paths = outside() | {"PYTHONPATH": f"{project}/src:{project}/engine/src", "RAY_USAGE_STATS_ENABLED": "0"}
    paths["PATH"] = f"{project}/.venv/bin{os.pathsep}{paths['PATH']}"
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=project, env=os.environ | paths, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def finish(process: subprocess.Popen[str], status: int = 0) -> list[str]:
    """Wait for the end with this exit status; return the lines of standard output, or of standard error if not 0."""
    out, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == status, out + errors
    return (errors if status else out).splitlines()


def losses(project: Path) -> list[float]:
    """Return the training loss of each epoch."""
    with (project / "reports/training.csv").open() as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def small(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small project that was trained without Ray."""
    folder = clone(project, tmp_path_factory.mktemp("ray") / "small")
    shutil.copytree(project / "features", folder / "features")
    python(folder, "-c", CUT)
    change(folder, "params.yaml", train={"epochs": 4, "width": 64})
    change(folder, "infra.yaml", compute={"device": "cpu", "threads": 1})
    (folder / "sweep.yaml").write_text((folder / "sweep.yaml").read_text().replace("trials: 20", "trials: 4"))
    finish(start(folder, *REPRO))
    return folder


@pytest.fixture(scope="module")
def cluster(small: Path) -> Iterator[Cluster]:
    """Start two machines, set up by the project's own verb; `small` then uses their environment and their address."""
    machines = small.parent / "machines"
    git(small.parent, "clone", "-q", str(small), str(machines))
    change(machines, "infra.yaml", ray={"address": "ray://127.0.0.1:1"})
    shutil.copytree((small / ".venv").resolve(), machines / ".venv", symlinks=True, copy_function=os.link)
    make(machines, "setup")
    shutil.rmtree(machines / "src")
    (small / ".venv").unlink()
    (small / ".venv").symlink_to(machines / ".venv")
    cluster = Cluster(start(machines, "python", str(ROOT / "tests/cluster.py")))
    assert cluster.process.stdin
    assert cluster.process.stdout
    ready = cluster.process.stdout.readline()
    assert ready, cluster.process.communicate()
    port, *cluster.machines = map(int, ready.split())
    change(small, "infra.yaml", ray={"address": f"ray://127.0.0.1:{port}"})
    yield cluster
    cluster.process.communicate(timeout=TIMEOUT)


def test_without_the_package_the_error_is_one_line(small: Path, tmp_path: Path) -> None:
    folder = clone(small, tmp_path / "alone")
    shutil.copytree(small / "features", folder / "features")
    change(folder, "infra.yaml", ray={"address": "ray://127.0.0.1:1"})
    (line,) = finish(start(folder, *STAGE), status=1)
    assert line == "error: infra.yaml: ray: the package is not installed here: run `make setup`"


def test_a_killed_training_continues_on_the_cluster_with_the_same_result(small: Path, cluster: Cluster) -> None:
    # given the result of training without Ray
    lock, model = (small / "dvc.lock").read_text(), (small / "models/model.onnx").read_bytes()
    (small / "models/model.onnx").unlink()
    # when a machine's worker is killed, then the error is one line
    training = start(small, *STAGE)
    assert training.stdout
    assert any("epoch 2" in line for line in training.stdout), finish(training, status=1)
    (worker,) = cluster.workers("ray::Machine")
    os.kill(worker, signal.SIGKILL)
    (line,) = finish(training, status=1)
    assert line.startswith("error: Ray at ray://127.0.0.1:")
    # and when it is run again, then it continues, and ends with the same bytes and the same lock
    lines = finish(start(small, *REPRO))
    assert "resuming the training from its checkpoint:" in lines
    assert [line[:10] for line in lines if "epoch" in line] == [f"epoch {number}/4:" for number in range(1, 5)]
    assert (small / "models/model.onnx").read_bytes() == model
    assert yaml.safe_load((small / "dvc.lock").read_text()) == yaml.safe_load(lock)
    assert not (small / ".cache/checkpoints").exists()


def test_two_machines_train_the_same_within_noise(small: Path, cluster: Cluster) -> None:
    on_one_machine = losses(small)
    change(small, "infra.yaml", compute={"nodes": 2})
    training = start(small, *STAGE)
    cluster.wait_until(lambda: set(cluster.workers("ray::Machine").values()) == set(cluster.machines))
    finish(training)
    change(small, "infra.yaml", compute={"nodes": 1})
    assert losses(small) == pytest.approx(on_one_machine, abs=0.02)


def test_trials_run_on_both_machines_and_continue_if_one_is_lost(small: Path, cluster: Cluster) -> None:
    # when a machine is lost while trials run on both
    search = start(small, "make", "sweep")
    cluster.wait_until(lambda: set(cluster.workers("ray::_run_trial").values()) == set(cluster.machines))
    assert cluster.process.stdin
    cluster.process.stdin.write("\n")
    cluster.process.stdin.flush()
    # then all of them are run, each is in MLflow, and none twice
    lines = finish(search)
    assert sum(line.startswith("trial ") for line in lines) == 4
    count = "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); "
    count += "print(len(mlflow.search_runs(experiment_names=['flight-delays-sweeps'])))"
    assert python(small, "-c", count).split() == ["4"]
    assert "0 of 4 trials to go" in make(small, "sweep")
    # and without the head, the error is one line
    cluster.process.communicate(timeout=TIMEOUT)
    (line,) = finish(start(small, *STAGE), status=1)
    assert line.startswith("error: no Ray cluster answers at ray://127.0.0.1:")
