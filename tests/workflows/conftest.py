"""One project in the stand-in of GitHub, shared by all tests here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.github import GitHub, Run
from tests.github.process import TOOLS
from tests.tools import require
from tests.workflows.home import Home, settle


@pytest.fixture(scope="session")
def started(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Run]]:
    """A project whose first push went straight to main, and the run that came of it."""
    require(*TOOLS)
    folder = tmp_path_factory.mktemp("workflows")
    with GitHub(folder / "github") as github:
        home = settle(github, project, folder)
        home.alice.push("main")
        (event,) = home.events()
        run = home.run(event)
        # Asked at once, for schedules and further pushes add theirs: what a job's own token pushes to main starts
        # nothing, and the lock carries the one verdict that no run of its own could give it.
        assert home.events() == []
        assert home.checks(home.repository.branch("main")) == [("verdict", "success")], run.log
        yield home, run


@pytest.fixture(scope="session")
def better(started: tuple[Home, Run]) -> Run:
    """The run of a pull request, branch `better`, that trains the model for longer."""
    home, _ = started
    return home.run(home.propose("better", home.params(epochs=3)))


@pytest.fixture
def home(started: tuple[Home, Run]) -> Iterator[Home]:
    """The project after its first push; nothing unknown may be asked of GitHub."""
    yield started[0]
    started[0].github.assert_no_unknown()
