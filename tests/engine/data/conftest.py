"""A project with two months accepted and a third one delivered."""

import shutil
from pathlib import Path

import pytest
from tests.engine.data.delivered import NEW, Tables, deliver, make_project

from mergeworthy.data.fetch import fetch


@pytest.fixture(scope="package")
def two_months(tmp_path_factory: pytest.TempPathFactory, flights: dict[str, Tables]) -> Path:
    """A project with two months accepted and a third one (March) delivered; thinned, so that it is quick."""
    folder = tmp_path_factory.mktemp("two-months") / "project"
    make_project(folder, {"kind": "files", "url": "source/{partition}/{table}.parquet"})
    thin = {month: tables | {"flights": tables["flights"].gather_every(10)} for month, tables in flights.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for month in ("2013-01", "2013-02"):
            deliver(Path("source", month), thin[month])
        fetch("2013-02")
        deliver(NEW, thin["2013-03"])
    return folder


@pytest.fixture
def project(two_months: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(two_months, folder)
    monkeypatch.chdir(folder)
    return folder
