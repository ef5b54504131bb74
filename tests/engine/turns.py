"""Several processes share the tests, a folder at a time; one that measures waits until it is alone."""

import fcntl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

ROOM, DOOR = Path(__file__), Path(__file__).with_name("conftest.py")  # any two files: only their locks matter


@contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Wait while another process's test is alone, or to be alone: then nobody comes in meanwhile."""
    with ROOM.open() as room, DOOR.open() as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


class ByFolder(LoadScopeScheduling):
    """What a folder's tests share (a server, a trained model) is made once."""

    def _split_scope(self, nodeid: str) -> str:
        return str(Path(nodeid.partition("::")[0]).parent)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFolder:
    """Return the scheduler of this run."""
    return ByFolder(config, log)
