"""Scheduling of the tests on two processes; a test that measures time runs while no other test runs."""

import fcntl
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

SUITES = (Path("tests"), Path())  # the template's and the engine's folder, as names of tests begin
Hook = Callable[[pytest.Item], Generator[None, object, object]]


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of a file, exclusively or shared."""
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def taking_turns(queue: Path, running: Path) -> Hook:
    """Return a suite's hook `pytest_runtest_protocol`, which locks the two files around each test.

    Each suite has two files of its own: else a test that runs another suite would deadlock with that suite's tests.
    """

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
        """Run a test marked `alone` while no other test runs; later tests wait for it."""
        with running.open() as file:
            with locked(queue):
                alone = item.get_closest_marker("alone") is not None
                fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            return (yield)

    return pytest_runtest_protocol


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order cheap tests before expensive ones."""
    items.sort(key=lambda item: item.get_closest_marker("dear") is not None)


class ByFolder(LoadScopeScheduling):
    """Keeps the tests of a folder, or of a file in the suite's own folder, in one process: they share fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.partition("::")[0])
        return str(path if path.parent in SUITES else path.parent)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFolder:
    """Return the scheduler of this run."""
    return ByFolder(config, log)


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this run share."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder
