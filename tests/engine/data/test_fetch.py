"""`make data` on real months in a real DVC project: accepted whole, or nothing changes."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from tests.engine.data.delivered import NEW, data_bytes, make_project, recorded
from tests.engine.product import PRODUCT

from mergeworthy.adapters.dvc import execute as dvc
from mergeworthy.data.fetch import fetch
from mergeworthy.errors import UserError


def test_the_next_month_costs_the_next_month_and_twice_changes_nothing(project: Path) -> None:
    # given that the source no longer even has the months accepted before
    shutil.rmtree("source/2013-01")
    before = data_bytes()

    # when the next is fetched, twice
    fetch("2013-03")
    after = data_bytes()
    fetch("2013-03")
    fetch(None)

    # then it is there, the others were not touched, and DVC agrees
    assert recorded() == {"2013-01": 2701, "2013-02": 2496, "2013-03": 2884}
    assert {path: after[path] for path in before if path != "data.dvc"} == {
        path: content for path, content in before.items() if path != "data.dvc"
    }
    assert data_bytes() == after
    assert json.loads(dvc("status", "--json", "data.dvc")) == {}


def test_recorded_months_come_from_the_remote_before_the_source(project: Path) -> None:
    # given months that were pushed, in a fresh clone whose source has nothing any more
    before = data_bytes()
    dvc("push", "data.dvc")
    for lost in ("data", "source", ".dvc/cache"):
        shutil.rmtree(lost)

    fetch(None)
    assert data_bytes() == before

    # and a single month that is gone comes back too
    shutil.rmtree("data/2013-01")
    fetch(None)
    assert data_bytes() == before


def test_recorded_months_come_from_the_source_where_no_remote_has_them(project: Path) -> None:
    before = data_bytes()
    for lost in ("data/2013-01", ".dvc/cache"):
        shutil.rmtree(lost)

    fetch(None)

    assert data_bytes() == before


def test_a_folder_that_somebody_copied_here_is_kept_by_dvc(project: Path) -> None:
    # given all that data.dvc records in data/, and nothing in DVC's cache or remote
    shutil.rmtree(".dvc/cache")
    before = data_bytes()

    fetch(None)

    # then it can be pushed
    assert data_bytes() == before
    dvc("push", "data.dvc")
    assert json.loads(dvc("status", "--cloud", "--json", "data.dvc")) == {}


def test_a_recorded_month_that_the_source_restated_is_taken_only_on_purpose(project: Path) -> None:
    # given a recorded month that is in no cache, and that the source now tells otherwise
    for lost in ("data/2013-02", ".dvc/cache"):
        shutil.rmtree(lost)
    path = Path("source/2013-02/flights.parquet")
    pl.read_parquet(path).with_columns(pl.col("arr_delay") + 1).write_parquet(path)
    before = data_bytes()

    # when it is fetched as if nothing had happened, it is refused
    with pytest.raises(UserError, match=r"2013-02: the source now delivers other content .*make data ACCEPT=2013-02"):
        fetch(None)
    assert data_bytes() == before

    # when it is asked for by name, it is taken
    fetch(None, accept="2013-02")
    assert recorded() == {"2013-01": 2701, "2013-02": 2496}
    assert (
        pl.read_parquet("data/2013-02/flights.parquet")["arr_delay"].sum() == pl.read_parquet(path)["arr_delay"].sum()
    )


def test_what_nobody_recorded_is_never_overwritten_nor_taken_in(project: Path) -> None:
    shutil.copytree(NEW, "data/2013-03")
    before = data_bytes()

    with pytest.raises(UserError, match=r"data/2013-03: data\.dvc does not record this .*`rm -r data/2013-03`"):
        fetch("2013-03")

    assert data_bytes() == before


def test_the_first_months_must_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path / "new", {"kind": "flights"})
    monkeypatch.chdir(tmp_path / "new")

    with pytest.raises(UserError, match=r"data\.dvc records no partitions yet: name the last one to fetch"):
        fetch(None)


def test_the_sample_is_what_the_committed_data_dvc_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a project as it is generated: data.dvc is there, data/ is not
    make_project(tmp_path / "generated", {"kind": "flights"})
    monkeypatch.chdir(tmp_path / "generated")
    shutil.copy(PRODUCT / "data.dvc", ".")
    committed = Path("data.dvc").read_bytes()

    # when the real thing runs
    fetch(None)

    # then data.dvc was true all along, to the byte, for DVC itself too
    assert Path("data.dvc").read_bytes() == committed
    assert json.loads(dvc("status", "--json", "data.dvc")) == {}
    assert list(recorded()) == [f"2013-0{month}" for month in range(1, 7)]
