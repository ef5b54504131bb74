"""`make data` on real months in a real DVC project: accepted whole, or nothing changes."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml

from pipeline.errors import UserError
from pipeline.ops.data import fetch
from pipeline.ops.dvc_cli import dvc

Tables = dict[str, pl.DataFrame]
ROOT = Path(__file__).parents[2]
HERE, NEW = Path("data"), Path("source/2013-03")


def deliver(folder: Path, tables: Tables) -> None:
    folder.mkdir(parents=True)
    for table, rows in tables.items():
        rows.write_parquet(folder / f"{table}.parquet")


def make_project(folder: Path, source: dict[str, str]) -> None:
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text(
        "[core]\n    remote = r\n    analytics = false\n['remote \"r\"']\n    url = ../remote\n"
    )
    shutil.copy(ROOT / ".dvcignore", folder)
    shutil.copy(ROOT / ".gitignore", folder)
    tracking = {"uri": "sqlite:///mlflow.db", "experiment": "test"}
    (folder / "infra.yaml").write_text(yaml.safe_dump({"source": source, "tracking": tracking}))
    subprocess.run(["git", "init", "-q", folder], check=True)


@pytest.fixture(scope="module")
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


def seen() -> dict[str, bytes]:
    """Every byte of data/ and data.dvc."""
    return {str(path): path.read_bytes() for path in [Path("data.dvc"), *HERE.rglob("*")] if path.is_file()}


def recorded() -> dict[str, int]:
    partitions: dict[str, int] = yaml.safe_load(Path("data.dvc").read_text())["meta"]["partitions"]
    return partitions


def parquet(table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[], None]:
    path = NEW / f"{table}.parquet"
    return lambda: change(pl.read_parquet(path)).write_parquet(path)


def cut_short() -> None:
    path = NEW / "weather.parquet"
    path.write_bytes(path.read_bytes()[:-200])


def deliver_february_again() -> None:
    shutil.rmtree(NEW)
    shutil.copytree("source/2013-02", NEW)


AIR_TIME = pl.col("air_time").cast(pl.Int32)
BROKEN: dict[str, tuple[Callable[[], None], str]] = {
    "missing column": (parquet("flights", lambda t: t.drop("dest")), "2013-03/flights: column dest is missing"),
    "extra column": (
        parquet("planes", lambda t: t.with_columns(x=1)),
        "2013-03/planes: column x is not in the contract",
    ),
    "wrong type": (
        parquet("flights", lambda t: t.with_columns(pl.col("distance").cast(pl.String))),
        "2013-03/flights: column distance has type String, expected Int16",
    ),
    "null spike": (
        parquet("flights", lambda t: t.with_columns(dep_delay=pl.when(pl.col("dep_delay") > 0).then("dep_delay"))),
        r"2013-03/flights: column dep_delay is null in \d\d.\d%",
    ),
    "duplicate rows": (
        parquet("weather", lambda t: pl.concat([t, t.head(1)])),
        "2013-03/weather: key origin, time must be unique, but 2 rows share theirs",
    ),
    "no rows": (parquet("flights", lambda t: t.clear()), "2013-03/flights: the table has no rows"),
    "empty file": (lambda: (NEW / "planes.parquet").write_bytes(b""), "2013-03/planes: .*not a whole parquet file"),
    "truncated parquet": (cut_short, "2013-03/weather: .*not a whole parquet file"),
    "missing file": ((NEW / "planes.parquet").unlink, "2013-03/planes: the file .* is missing"),
    "minutes to seconds": (
        parquet("flights", lambda t: t.with_columns(air_time=AIR_TIME * 60)),
        "2013-03/flights: column air_time must",
    ),
    "a month delivered twice": (
        deliver_february_again,
        "2013-03/flights: column sched_dep must lie in the partition 2013-03, but 2,496 of 2,496 rows do not",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_month_is_refused_and_nothing_changes(case: str, project: Path) -> None:
    # given two accepted months and a third that is broken
    spoil, sentence = BROKEN[case]
    spoil()
    before = seen()

    # when it is fetched
    with pytest.raises(UserError, match=sentence) as refused:
        fetch("2013-03")

    # then one line says why, and every byte is as it was
    assert "\n" not in str(refused.value)
    assert seen() == before
    assert not list(Path(".dvc/tmp").glob("incoming-*"))


@pytest.mark.parametrize(
    ("until", "sentence"),
    [
        ("2013-04", "2013-04 cannot follow 2013-02: the source lacks what lies between"),
        ("2013-9", "2013-9 is not a partition of the source in infra.yaml, which has 2013-01 to 2013-04"),
        ("../x", "../x is not a partition of the source"),
    ],
)
def test_a_month_out_of_order_or_unknown_is_refused(until: str, sentence: str, project: Path) -> None:
    NEW.rename("source/2013-04")
    before = seen()

    with pytest.raises(UserError, match=sentence):
        fetch(until)

    assert seen() == before


def test_the_next_month_costs_the_next_month_and_twice_changes_nothing(project: Path) -> None:
    # given that the source no longer even has the months accepted before
    shutil.rmtree("source/2013-01")
    before = seen()

    # when the next is fetched, twice
    fetch("2013-03")
    after = seen()
    fetch("2013-03")
    fetch(None)

    # then it is there, the others were not touched, and DVC agrees
    assert recorded() == {"2013-01": 2701, "2013-02": 2496, "2013-03": 2884}
    assert {path: after[path] for path in before if path != "data.dvc"} == {
        path: content for path, content in before.items() if path != "data.dvc"
    }
    assert seen() == after
    assert json.loads(dvc("status", "--json", "data.dvc")) == {}


def test_recorded_months_come_from_the_remote_before_the_source(project: Path) -> None:
    # given months that were pushed, in a fresh clone whose source has nothing any more
    before = seen()
    dvc("push", "data.dvc")
    for lost in ("data", "source", ".dvc/cache"):
        shutil.rmtree(lost)

    fetch(None)
    assert seen() == before

    # and a single month that is gone comes back too
    shutil.rmtree("data/2013-01")
    fetch(None)
    assert seen() == before


def test_recorded_months_come_from_the_source_where_no_remote_has_them(project: Path) -> None:
    before = seen()
    for lost in ("data/2013-01", ".dvc/cache"):
        shutil.rmtree(lost)

    fetch(None)

    assert seen() == before


def test_a_recorded_month_that_the_source_restated_is_taken_only_on_purpose(project: Path) -> None:
    # given a recorded month that is in no cache, and that the source now tells otherwise
    for lost in ("data/2013-02", ".dvc/cache"):
        shutil.rmtree(lost)
    path = Path("source/2013-02/flights.parquet")
    pl.read_parquet(path).with_columns(pl.col("arr_delay") + 1).write_parquet(path)
    before = seen()

    # when it is fetched as if nothing had happened, it is refused
    with pytest.raises(UserError, match=r"2013-02: the source now delivers other content .*make data ACCEPT=2013-02"):
        fetch(None)
    assert seen() == before

    # when it is asked for by name, it is taken
    fetch(None, accept="2013-02")
    assert recorded() == {"2013-01": 2701, "2013-02": 2496}
    assert (
        pl.read_parquet("data/2013-02/flights.parquet")["arr_delay"].sum() == pl.read_parquet(path)["arr_delay"].sum()
    )


def test_what_nobody_recorded_is_never_overwritten_nor_taken_in(project: Path) -> None:
    shutil.copytree(NEW, "data/2013-03")
    before = seen()

    with pytest.raises(
        UserError, match=r"data/2013-03 is not recorded in data\.dvc|files that data\.dvc does not know"
    ):
        fetch("2013-03")

    assert seen() == before


def test_a_second_dvc_is_one_line(project: Path) -> None:
    # given a dvc that holds data/ (DVC's own lock file, naming a process that lives)
    holder = {"write": {str(Path("data").resolve()): {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}
    Path(".dvc/tmp/rwlock").write_text(json.dumps(holder))
    before = seen()

    with pytest.raises(UserError, match="another dvc command is running in this folder"):
        fetch("2013-03")

    assert seen() == before


def test_a_failing_last_step_puts_everything_back(project: Path) -> None:
    # given a cache that can take nothing new: where DVC wants a folder, a file lies
    for prefix in range(256):
        folder = Path(f".dvc/cache/files/md5/{prefix:02x}")
        folder.exists() or folder.touch()
    before = seen()

    # when `dvc add` meets it
    with pytest.raises(UserError, match="dvc add failed"):
        fetch("2013-03")

    # then the month that already lay in data/ is gone again
    assert seen() == before


def test_a_ctrl_c_in_the_last_step_puts_everything_back(project: Path) -> None:
    # given someone who presses Ctrl-C once the new month lies in data/
    before = seen()

    def press() -> None:
        while not Path("data/2013-03").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()

    with pytest.raises(KeyboardInterrupt):
        fetch("2013-03")

    assert seen() == before

    # and nothing that was left behind is in the way of the next run
    fetch("2013-03")
    assert list(recorded()) == ["2013-01", "2013-02", "2013-03"]


def test_the_first_months_must_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path / "new", {"kind": "flights"})
    monkeypatch.chdir(tmp_path / "new")

    with pytest.raises(UserError, match=r"data\.dvc records no partitions yet: say up to which"):
        fetch(None)


def test_the_sample_is_what_the_committed_data_dvc_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a project as it is generated: data.dvc is there, data/ is not
    make_project(tmp_path / "generated", {"kind": "flights"})
    monkeypatch.chdir(tmp_path / "generated")
    shutil.copy(ROOT / "data.dvc", ".")
    committed = Path("data.dvc").read_bytes()

    # when the real thing runs
    fetch(None)

    # then data.dvc was true all along, to the byte, for DVC itself too
    assert Path("data.dvc").read_bytes() == committed
    assert json.loads(dvc("status", "--json", "data.dvc")) == {}
    assert list(recorded()) == [f"2013-0{month}" for month in range(1, 7)]
