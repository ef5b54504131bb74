"""Two processes share the tests, and a test that measures waits until no other test runs."""

import fcntl
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
QUEUE, RUNNING = Path(__file__), ROOT / "conftest.py"  # any two files: only their locks matter


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the file's lock, alone or with others that share it."""
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test marked `alone` while no other runs; those that come later wait behind it."""
    with RUNNING.open() as running:
        with locked(QUEUE):
            alone = item.get_closest_marker("alone") is not None
            fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order cheap tests before dear ones; keep a folder's tests, or a file's, in one process: they share fixtures."""
    items.sort(key=lambda item: item.get_closest_marker("dear") is not None)
    for item in items if hasattr(config, "workerinput") else []:
        folder = item.path.parent
        item.add_marker(pytest.mark.xdist_group(str(item.path if folder == ROOT else folder)))


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this run share."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder
