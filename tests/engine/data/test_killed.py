"""`make data` that is killed, meets a full disk, or files of other programs: the next run succeeds."""

import fcntl
import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from tests.attempts import refusal, works
from tests.engine.data.delivered import Tables, data_bytes, recorded
from tests.engine.product import PACKAGES

from mergeworthy.adapters.dvc import execute as dvc
from mergeworthy.data.fetch import STAGED, Pointer, fetch, folder_md5, install, staging, undo_interrupted
from mergeworthy.data.files import Files
from mergeworthy.partitions import Partition, accepted
from mergeworthy.stages import features
from mergeworthy.stages.validate import examine

# Runs `make data ACCEPT=2013-02`, and kills itself when Python is about to do the operation that is named.
KILLED = """
import os, signal, sys
from mergeworthy.data.fetch import fetch

def kill(event, arguments):
    if event == sys.argv[1] and any(str(value).endswith(sys.argv[2]) for value in arguments):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
fetch(None, accept="2013-02")
"""
STEPS = {
    "while it stages": ("os.mkdir", ".incoming/2013-02"),
    "when the old month is away": ("os.rename", ".incoming/2013-02"),
    "when dvc has added it": ("os.rename", "data.dvc.part"),
    "when it is all but done": ("os.remove", "journal.json"),
}


def killed(*step: str) -> None:
    command = [sys.executable, "-c", KILLED, *step]
    done = subprocess.run(command, env={"PYTHONPATH": PACKAGES}, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def restated() -> None:
    path = Path("source/2013-02/flights.parquet")
    pl.read_parquet(path).with_columns(pl.col("arr_delay") + 1).write_parquet(path)


@pytest.mark.attempts("killed verb")
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_run_heals(step: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # given a recorded month that is taken anew, and a kill in the middle
    restated()
    before = data_bytes()
    killed(*STEPS[step])

    # when what comes next looks at data/
    undo_interrupted()

    # then all is as it was, and nothing is left behind
    assert data_bytes() == before
    assert not STAGED.exists()
    assert not Path("data.dvc.part").exists()
    works()


@pytest.mark.attempts("killed verb")
def test_the_same_command_goes_through_after_a_kill(project: Path) -> None:
    restated()
    killed(*STEPS["when the old month is away"])

    fetch(None, accept="2013-02")

    assert recorded() == {"2013-01": 2701, "2013-02": 2496}
    assert pl.read_parquet("data/2013-02/flights.parquet")["arr_delay"].sum() == (
        pl.read_parquet("source/2013-02/flights.parquet")["arr_delay"].sum()
    )
    assert json.loads(dvc("status", "--json", "data.dvc")) == {}
    works()


@pytest.mark.attempts("killed verb")
def test_undoing_can_be_stopped_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given an installation that is stopped once the old month is away, and whose undoing is stopped too
    before, rename, steps = data_bytes(), Path.rename, 0

    def stopping(self: Path, target: Path) -> Path:
        nonlocal steps
        steps += 1
        if steps > 1:
            raise KeyboardInterrupt
        return rename(self, target)

    def interrupted() -> None:
        with staging() as folder:
            shutil.copytree("source/2013-02", folder / "2013-02")
            monkeypatch.setattr(Path, "rename", stopping)
            install(["2013-02"], Pointer())

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    monkeypatch.setattr(Path, "rename", rename)
    assert (steps, data_bytes() == before) == (3, False)

    # when what comes next looks at data/
    undo_interrupted()

    # then all is as it was
    assert data_bytes() == before
    assert not STAGED.exists()
    works()


@pytest.mark.attempts("killed verb")
def test_a_dvc_that_outlived_its_make_data_is_waited_for(project: Path) -> None:
    STAGED.mkdir()
    (STAGED / "journal.json").write_text(json.dumps({"names": [], "data.dvc": None}))

    with Path(".dvc/tmp/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with refusal("a dvc command is running in this folder: wait for it"):
            fetch(None)


@pytest.mark.attempts("damaged file")
@pytest.mark.parametrize("journal", ["{", "[]", '{"names": ["../x"], "data.dvc": null}', '{"names": 5}'])
def test_a_damaged_journal_is_one_line(journal: str, project: Path) -> None:
    STAGED.mkdir()
    (STAGED / "journal.json").write_text(journal)
    before = data_bytes()

    with refusal(r"journal\.json"):
        fetch(None)

    assert data_bytes() == before


@pytest.mark.attempts("disk")
def test_a_full_disk_is_one_line_and_changes_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given that no file may grow beyond 20 kB, once the month is read: as on a full disk, the system refuses to write
    before, limits, read = data_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE), Files.read

    def full(self: Files, name: str) -> Tables:
        tables = read(self, name)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        return tables

    monkeypatch.setattr(Files, "read", full)
    try:
        with refusal(r"data/.incoming/2013-03/flights.parquet cannot be written: .*large"):
            fetch("2013-03")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert data_bytes() == before
    assert not STAGED.exists()


@pytest.mark.attempts("disk")
def test_a_folder_that_cannot_be_written_is_one_line(project: Path) -> None:
    # given that where the new month would be staged, a file lies
    STAGED.touch()
    before = data_bytes()

    with refusal(r"data/.incoming: .*: data/ and data\.dvc are as they were"):
        fetch("2013-03")

    assert data_bytes() == before


@pytest.mark.attempts("disk")
def test_a_linked_data_folder_is_refused_with_the_way_that_works(project: Path, tmp_path: Path) -> None:
    shutil.move("data", tmp_path / "other disk")
    Path("data").symlink_to(tmp_path / "other disk")
    before = data_bytes()

    with refusal(r"data/ is a link to .* DVC tracks no linked folder: .*cache\.type symlink"):
        fetch("2013-03")
    assert data_bytes() == before

    # and that way works
    Path("data").unlink()
    shutil.move(tmp_path / "other disk", "data")
    dvc("cache", "dir", "--local", str(tmp_path / "cache"))
    dvc("config", "--local", "cache.type", "symlink")
    fetch("2013-03")
    assert Path("data/2013-03/flights.parquet").is_symlink()
    fetch(None)
    assert list(recorded()) == ["2013-01", "2013-02", "2013-03"]
    works(name="the cache linked in its place")


LEFT = (".ipynb_checkpoints/flights-checkpoint.parquet", ".DS_Store", "~lock", ".~lock.flights.parquet#", "~$f.xlsx")
LEFT += (
    "#flights.parquet#",
    "flights.parquet.tmp",
    "a.crdownload",
    "flights.parquet:Zone.Identifier",
    "Icon\r",
    "x.bak",
)
LEFT = (*LEFT, "._flights.parquet", "flights.parquet~", "Thumbs.db", "desktop.ini", "__MACOSX/flights.parquet")
LEFT = (*LEFT, "lost+found/x", "#recycle/x", "$RECYCLE.BIN/x", "System Volume Information/x", "@eaDir/x", "CVS/x")


@pytest.mark.attempts("left behind by programs")
def test_what_programs_leave_behind_is_no_data_for_any_verb(project: Path) -> None:
    # given what file managers, editors and office programs leave, in data/ and in a partition
    before, digest = data_bytes(), folder_md5(Path("data/2013-01"))
    for folder in (Path("data"), Path("data/2013-01"), Path("source"), Path("source/2013-03")):
        for name in LEFT:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("left behind")

    # when each verb looks
    fetch(None)

    # then none sees it
    assert Path("data.dvc").read_bytes() == before["data.dvc"]
    assert json.loads(dvc("status", "--json", "data.dvc")) == {}
    assert accepted() == ["2013-01", "2013-02"]
    assert folder_md5(Path("data/2013-01")) == digest
    assert (
        sorted(examine(Partition("2013-01")))
        == sorted(features.tables(Partition("2013-01")))
        == ["flights", "planes", "weather"]
    )
    fetch("2013-03")
    assert list(recorded()) == ["2013-01", "2013-02", "2013-03"]
    for name in LEFT:
        works("ignored", name)


@pytest.mark.attempts("name of a partition")
@pytest.mark.parametrize(
    "name", ["2013-06a/../../x", "..", ".", "-rf", "a b", "a\nb", "a\\b", "märz", "x" * 101, "", "$(x)"]
)
def test_a_name_that_could_lead_elsewhere_is_refused_where_it_enters(name: str, project: Path) -> None:
    with refusal("cannot name a partition"):
        Partition.read(name, "data.dvc")

    # and so is a data.dvc that holds it
    content = json.loads(
        json.dumps({"outs": [{"path": "data"}], "meta": {"partitions": {name: 1}, "md5": {name: "0"}}})
    )
    Path("data.dvc").write_text(json.dumps(content))
    with refusal(r"data\.dvc: meta\.partitions: .* cannot name a partition"):
        fetch(None)


@pytest.mark.attempts("name of a partition")
def test_a_folder_that_cannot_be_a_partition_is_named(project: Path) -> None:
    Path("data/2013-02 (copy)").mkdir()
    with refusal(r"data/: '2013-02 \(copy\)' cannot name a partition"):
        accepted()

    shutil.move("source/2013-03", "source/2013-03 (copy)")
    Path("data/2013-02 (copy)").rmdir()
    with refusal(r"source/.*: '2013-03 \(copy\)' cannot name a partition"):
        fetch("2013-03")
