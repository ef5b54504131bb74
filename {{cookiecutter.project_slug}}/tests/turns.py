"""Several processes share the tests, a folder at a time; one that measures waits until it is alone."""

import fcntl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What a folder shares (a server, a trained model) is made once."""
    for item in items if hasattr(config, "workerinput") else []:
        item.add_marker(pytest.mark.xdist_group(str(item.path.parent)))
