"""The hooks around a job, run for real: a real DVC that is killed, real processes that are left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.engine.infra.conftest import Script, executable, named

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can make files and processes of another user")

Start = Callable[..., subprocess.Popen[Any]]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """_work/flights/flights, as the runner lays it out and tells it to hooks."""
    folder = tmp_path / "_work" / "flights" / "flights"
    folder.mkdir(parents=True)
    monkeypatch.setenv("RUNNER_WORKSPACE", str(folder.parent))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder))
    monkeypatch.setenv("RUNNER_MIN_FREE_GB", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return folder


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process in a group of its own; what is left of it ends with the test."""
    started: list[subprocess.Popen[Any]] = []

    def run(*command: object, **options: Any) -> subprocess.Popen[Any]:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([*map(str, command)], start_new_session=True, **(quiet | options))
        started.append(process)
        return process

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def gpu(bin_: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """An nvidia-smi that lists the given processes on GPU 3, and on no other."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")

    def lists(*pids: int) -> None:
        (tmp_path / "pids").write_text("".join(f"{pid}\n" for pid in pids))
        executable(bin_ / "nvidia-smi", f'[[ " $* " == *" --id=3 "* ]] && cat {tmp_path}/pids')

    return lists


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in 20 s"
        time.sleep(0.05)


def dvc(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_locks_stay_while_dvc_works_and_go_when_it_was_killed(checkout: Path, start: Start, script: Script) -> None:
    # given a DVC at work on a stage that takes its time
    assert dvc(checkout, "init", "--no-scm", "-q").returncode == 0
    dvc(checkout, "stage", "add", "-q", "-n", "slow", "-o", "out", "sleep 60; touch out")
    lock = checkout / ".dvc/tmp/rwlock"
    working = start(sys.executable, "-m", "dvc", "repro", cwd=checkout)
    wait_for(lambda: lock.exists() and '"pid"' in lock.read_text(), "the lock")

    # when a hook looks, then it lets the lock be and says why
    kept = script("hooks.sh", "started")
    assert kept.returncode == 0
    assert f"process {working.pid}" in kept.stdout
    assert lock.exists()

    # when it is killed, and another program has got its number, then DVC alone would wait for that one for ever
    os.killpg(working.pid, signal.SIGKILL)
    working.wait()
    lock.write_text(lock.read_text().replace(f'"pid": {working.pid}', f'"pid": {os.getpid()}'))
    (checkout / "dvc.yaml").write_text("stages:\n  slow: {cmd: touch out, outs: [out]}\n")
    assert "blocked by" in dvc(checkout, "repro").stderr

    # and after the hook it works again
    assert script("hooks.sh", "started").returncode == 0
    assert not lock.exists()
    assert dvc(checkout, "repro").returncode == 0


def test_a_full_disk_fails_the_job_at_once_with_one_line(checkout: Path, script: Script) -> None:
    result = script("hooks.sh", "started", env={"RUNNER_MIN_FREE_GB": 1_000_000})
    assert result.returncode == 1
    assert result.stdout.count("\n") == 1
    assert result.stdout.startswith("::error::runner: ")
    assert "1000000 GB needed" in result.stdout
    assert result.stderr == ""


def test_an_orphan_on_the_gpu_is_ended_and_only_that(
    checkout: Path, tmp_path: Path, gpu: Callable[..., None], start: Start, script: Script
) -> None:
    # given a training left behind, one that ignores a polite end, one of a job that a listener runs, and a bystander
    orphan = start("sleep", 300)
    stubborn = start("bash", "-c", 'trap "" TERM; while :; do sleep 0.1; done')
    listener = start(named(tmp_path, "Runner.Listener"), "-c", "sleep 300 & echo $!; wait", stdout=subprocess.PIPE)
    assert listener.stdout is not None
    job = int(listener.stdout.readline())
    bystander = start("sleep", 300)
    Thread(target=orphan.wait).start()  # takes note of its end at once, as init does
    gpu(orphan.pid, stubborn.pid, job)

    # when
    result = script("hooks.sh", "completed")

    # then
    assert result.returncode == 0
    assert f"ending process {orphan.pid}, left on GPU 3: sleep 300" in result.stdout
    assert (orphan.wait(10), stubborn.wait(10)) == (-signal.SIGTERM, -signal.SIGKILL)
    os.kill(job, 0)  # lives
    assert (listener.poll(), bystander.poll()) == (None, None)


@as_root
def test_another_users_training_on_the_same_gpu_is_left_alone(
    checkout: Path, gpu: Callable[..., None], start: Start, script: Script
) -> None:
    theirs = start("sleep", 300, user=65534)
    gpu(theirs.pid)
    assert script("hooks.sh", "started").returncode == 0
    assert theirs.poll() is None


def test_a_broken_driver_does_not_turn_a_finished_job_red(
    checkout: Path, bin_: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    executable(bin_ / "nvidia-smi", "echo 'No devices were found'; exit 6")
    result = script("hooks.sh", "completed")
    assert result.returncode == 0
    assert "::warning::runner: the GPU's processes could not be looked at" in result.stdout


@as_root
def test_what_a_container_left_is_removed_and_the_tool_cache_is_not(checkout: Path, script: Script) -> None:
    theirs = checkout / "reports" / "plot.png"
    tools = checkout.parents[1] / "_tool" / "python"
    mine = checkout / "data.dvc"
    for path in (theirs, tools, mine):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for path in (theirs, theirs.parent, tools):
        os.chown(path, 12345, 12345)

    assert script("hooks.sh", "started").returncode == 0
    assert [path.exists() for path in (theirs.parent, tools, mine)] == [False, True, True]
