"""The prediction log: complete, bounded, private, uploaded, and readable after a kill."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from tests.engine.product import PRODUCT
from tests.engine.serving.conftest import Start, environment
from tests.engine.serving.test_refusals import GOOD

from mergeworthy.config.infra import PredictionLog
from mergeworthy.data.predictions import DAMAGED, OTHER_COLUMNS, OTHER_MODEL, logged_columns, read_log, read_predictions
from mergeworthy.serving.log import MB, SENT, Log, Uploader
from ml.schema import TABLES

Golden = tuple[list[dict[str, Any]], list[float]]
COLUMNS = logged_columns(TABLES["flights"])
ROW = GOOD | {"sched_dep": "2013-02-01T05:00:00", "tailnum": "N1"}
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from mergeworthy.serving.log import Log
from mergeworthy.config import PredictionLog
from tests.engine.serving.test_log import COLUMNS, ROW, add
lost = []
log = Log(PredictionLog(folder=sys.argv[1]), {"model": "m0"}, COLUMNS, lost.append)
log._stop.set(); log._thread.join()  # this test decides when the log is written
for number, limit in enumerate([10_000, 10_000, 700, 10_000]):
    # The third time, the disk takes half of what is written.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, 10_000))
    for index in range(2):
        add(log, f"{number}-{index}")
    log._flush()
print(sum(lost))
"""


def new_log(folder: Path, model: str = "m0", columns: Sequence[str] = COLUMNS, **settings: Any) -> Log:
    return Log(PredictionLog(folder=str(folder), **settings), {"model": model}, columns)


def add(log: Log, request_id: str, row: dict[str, Any] = ROW) -> None:
    """Add an answer to a request of one row."""
    log.add(request_id, {name: [value] for name, value in row.items()}, [0.5])


def write(log: Log, *ids: str, row: dict[str, Any] = ROW) -> Log:
    """Add an answer for each id, and close the log."""
    for request_id in ids:
        add(log, request_id, row)
    log.close()
    return log


def test_an_answer_can_be_read_back_without_private_columns(start: Start, golden: Golden) -> None:
    # given a service that answered three requests, and was stopped
    server, (rows, _) = start(), golden
    answers = [httpx.post(f"{server.url}/predict", json={"rows": rows[at : at + 5]}) for at in (0, 5, 10)]
    server.stop()
    # when the log is read
    read = read_predictions(str(server.log()))
    # then it holds every row, score and id, in the types of the contract
    assert read["score"].to_list() == [score for answer in answers for score in answer.json()["scores"]]
    assert read["request_id"].unique(maintain_order=True).to_list() == [a.headers["x-request-id"] for a in answers]
    assert read["flight"].to_list() == [row["flight"] for row in rows[:15]]
    assert (read.schema["sched_dep"], read.schema["flight"]) == (pl.Datetime("us"), pl.Int16)
    assert read["model"].n_unique() == 1
    # and no tail number
    assert "tailnum" not in read.columns
    assert all(row["tailnum"] not in path.read_text() for row in rows[:15] for path in server.log().iterdir())


@pytest.mark.alone
def test_a_kill_under_load_loses_at_most_the_last_second(start: Start, golden: Golden) -> None:
    # given clients that record when each answer arrived
    server, answered, killed = start(), dict[str, float](), threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=server.url) as client:
            while not killed.is_set():
                try:
                    answer = client.post("/predict", json={"rows": golden[0][:3]})
                except httpx.TransportError:
                    return
                answered[answer.headers["x-request-id"]] = time.monotonic()

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(3.5)
    # when it is killed
    moment = time.monotonic()
    server.stop(signal.SIGKILL)
    killed.set()
    for client in clients:
        client.join()
    # then every answer older than a second (and some time for a busy machine) is in the log
    logged = set(read_predictions(str(server.log()))["request_id"])
    old = {request for request, arrived in answered.items() if arrived < moment - 1.3}
    assert len(old) > 100
    assert old <= logged


def test_a_torn_line_costs_only_that_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # given a segment with half a line in the middle, to which the next was appended, garbage, and a torn end
    write(new_log(tmp_path), "0", "1", "2", "3", "4")
    (segment,) = tmp_path.iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(lines[0] + lines[1][:30] + lines[2] + b"\xff{]\n" + lines[3] + lines[4][:-20])
    # when it is read, then the complete lines are there, and the others are counted
    log = read_log(str(tmp_path), "m0", {})
    assert log.rows["request_id"].to_list() == ["0", "3"]
    assert log.left_out == {DAMAGED: 3}
    assert "3 damaged lines are skipped" in capsys.readouterr().err


def test_a_full_disk_tears_no_line(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        env=environment(),
        cwd=PRODUCT,
        capture_output=True,
        text=True,
        check=True,
    )
    log = read_log(str(tmp_path), None, {})
    assert log.rows["request_id"].to_list() == ["0-0", "0-1", "1-0", "1-1", "3-0", "3-1"]
    assert (log.left_out, result.stdout, "2 predictions were not logged" in result.stderr) == ({}, "2\n", True)


def test_lines_of_other_models_and_other_columns_are_left_out(tmp_path: Path) -> None:
    # given segments of a model with more inputs, with fewer, with wider values, and of another model
    write(new_log(tmp_path, columns=[*COLUMNS, "gate"]), "more", row=ROW | {"gate": "B22"})
    write(new_log(tmp_path, columns=COLUMNS[1:]), "fewer")
    wide = new_log(tmp_path)
    for request_id, flight in (("before", 1), ("wide", 40_000), ("odd", "AA"), ("after", 2)):
        add(wide, request_id, ROW | {"flight": flight})
    wide.close()
    write(new_log(tmp_path, "m1", columns=["gate"]), "other", row={"gate": 40_000})
    # when the log is read for the model
    log = read_log(str(tmp_path), "m0", {})
    # then only rows that fit the schema are there, in its types
    assert log.rows["request_id"].to_list() == ["before", "after"]
    assert log.rows.schema["flight"] == pl.Int16
    assert log.left_out == {OTHER_COLUMNS: 4, OTHER_MODEL: 1}


def test_segments_rotate_and_the_oldest_are_deleted(tmp_path: Path) -> None:
    # given segments of 10 kB, of which 50 kB are kept
    folder = tmp_path / "log"
    for _ in range(8):
        log = new_log(folder, segment_mb=0.01, keep_mb=0.05)
        for number in range(50):
            add(log, f"{number:0100}")
        log.close()
    # then the bound holds, except for the open segment
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert max(sizes) >= 0.01 * MB
    assert sum(sizes) <= 0.05 * MB + max(sizes)
    assert 1 < len(sizes) < 8


def test_closed_segments_are_uploaded_even_those_of_a_killed_process(tmp_path: Path) -> None:
    # given a segment that a process of this host left behind
    folder, bucket = tmp_path / "log", tmp_path / "bucket"
    write(new_log(folder), "a")
    (left,) = folder.iterdir()
    left.rename(folder / left.name.replace(str(os.getpid()), "999999999"))
    # when the next process starts, and stops
    write(new_log(folder, url=f"file://{bucket}"), "b")
    # then both are in the bucket, and readable
    assert sorted(path.name for path in bucket.iterdir()) == sorted(path.name for path in (folder / SENT).iterdir())
    assert read_predictions(f"file://{bucket}")["request_id"].to_list() == ["a", "b"]


def test_a_failed_upload_is_retried_and_its_segment_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # given a store that is down (a file is in the place of its folder), and a small keep_mb
    folder, bucket = tmp_path / "log", tmp_path / "bucket"
    bucket.write_text("down")
    url, small = f"file://{bucket}/predictions", {"segment_mb": 0.0001, "keep_mb": 0.0008}
    first = new_log(folder, url=url, **small)
    for request_id in "abcdef":
        add(first, request_id)
        first._flush()
    first.close()
    # then no logged answer is lost, and beyond keep_mb nothing more is logged
    assert "was not copied" in capfd.readouterr().err
    kept = read_predictions(str(folder))["request_id"].to_list()
    assert kept == list("abcdef")[: len(kept)]
    assert 1 < len(kept) < 6
    # when the store is back while a process retries, then it has every answer
    uploader = Uploader(PredictionLog(folder=str(folder), url=url), retry=0.05)
    uploader.put(*folder.glob("*.ndjson"))
    bucket.unlink()
    while any(folder.glob("*.ndjson")):
        time.sleep(0.05)
    uploader.close()
    assert read_predictions(url)["request_id"].to_list() == kept


def test_a_sample_is_logged_and_nothing_if_the_share_is_zero(tmp_path: Path) -> None:
    for share, low, high in ((0.0, 0, 0), (0.3, 200, 400), (1.0, 1000, 1000)):
        folder = tmp_path / str(share)
        log = new_log(folder, sample=share)
        for number in range(1000):
            add(log, str(number))
        log.close()
        lines = [json.loads(line) for path in folder.glob("*") for line in path.read_text().splitlines()]
        assert low <= len(lines) <= high
