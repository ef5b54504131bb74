"""The prediction log: whole, bounded, private, shipped; and what is left of it after a kill."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from tests.serving.conftest import Start

from pipeline.errors import UserError
from pipeline.ops.sources.predictions import read_predictions
from pipeline.serving.log import MB, Log
from pipeline.settings import PredictionLog

Golden = tuple[list[dict[str, Any]], list[float]]
COLUMNS = ["sched_dep", "flight"]
ROW = {"sched_dep": "2013-02-01T05:00:00", "flight": 1, "tailnum": "N1"}


def log(folder: Path, **settings: Any) -> Log:
    return Log(PredictionLog(folder=str(folder), **settings), {"commit": "c0"}, COLUMNS)


def test_an_answer_can_be_read_back_without_what_is_private(start: Start, golden: Golden) -> None:
    # given a service that answered three requests, and was stopped
    server, (rows, _) = start(), golden
    told = [httpx.post(f"{server.url}/predict", json={"rows": rows[at : at + 5]}) for at in (0, 5, 10)]
    server.stop()
    # when the log is read
    read = read_predictions(str(server.log()))
    # then it holds every row, score and id, in the types of the contract
    assert read["score"].to_list() == [score for answer in told for score in answer.json()["scores"]]
    assert read["request_id"].unique(maintain_order=True).to_list() == [a.headers["x-request-id"] for a in told]
    assert read["flight"].to_list() == [row["flight"] for row in rows[:15]]
    assert (read.schema["sched_dep"], read.schema["flight"]) == (pl.Datetime("us"), pl.Int16)
    assert read["model"].n_unique() == 1
    # and no tail number
    assert "tailnum" not in read.columns
    assert all(row["tailnum"] not in path.read_text() for row in rows[:15] for path in server.log().iterdir())


@pytest.mark.alone
def test_a_kill_under_load_loses_at_most_the_last_second(start: Start, golden: Golden) -> None:
    # given clients that note when each answer came
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
    # then every answer older than a second (and what a busy machine adds) is in the log
    noted = set(read_predictions(str(server.log()))["request_id"])
    old = {request for request, came in answered.items() if came < moment - 1.3}
    assert len(old) > 100
    assert old <= noted


def test_a_torn_last_line_is_skipped_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = log(tmp_path)
    for number in range(3):
        written.add(str(number), [ROW], [0.5])
    written.close()
    (segment,) = tmp_path.iterdir()
    segment.write_bytes(segment.read_bytes()[:-20])
    assert read_predictions(str(tmp_path))["request_id"].to_list() == ["0", "1"]
    assert "torn" in capsys.readouterr().err
    # but damage elsewhere is not passed over
    segment.write_bytes(b"{" + segment.read_bytes())
    with pytest.raises(UserError, match="damaged"):
        read_predictions(str(tmp_path))


def test_segments_rotate_and_the_oldest_go(tmp_path: Path) -> None:
    # given segments of 10 kB, of which 30 kB are kept
    folder = tmp_path / "log"
    for _ in range(8):
        written = log(folder, segment_mb=0.01, keep_mb=0.03)
        for number in range(50):
            written.add(f"{number:0100}", [ROW], [0.5])
        written.close()
    # then the bound holds, but for the segment in hand, and the newest is there
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert max(sizes) >= 0.01 * MB
    assert sum(sizes) <= 0.03 * MB + max(sizes)
    assert 1 < len(sizes) < 8


def test_closed_segments_are_copied_once_even_those_of_a_killed_process(tmp_path: Path) -> None:
    # given a segment that a process of this host left behind
    folder, bucket = tmp_path / "log", tmp_path / "bucket"
    first = log(folder)
    first.add("a", [ROW], [0.5])
    first.close()
    (left,) = folder.iterdir()
    left.rename(folder / left.name.replace(str(os.getpid()), "999999999"))
    # when the next one starts, and stops
    second = log(folder, url=f"file://{bucket}")
    second.add("b", [ROW], [0.7])
    second.close()
    # then both are there, and readable
    assert sorted(path.name for path in bucket.iterdir()) == sorted(path.name for path in folder.iterdir())
    assert read_predictions(f"file://{bucket}")["request_id"].to_list() == ["a", "b"]


def test_a_store_that_is_down_is_a_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    written = log(tmp_path, url="nosuch://bucket")
    written.add("a", [ROW], [0.5])
    written.close()
    assert "warning" in capfd.readouterr().err
    assert len(read_predictions(str(tmp_path))) == 1


def test_a_sample_is_noted_and_none_where_none_is_wanted(tmp_path: Path) -> None:
    for share, low, high in ((0.0, 0, 0), (0.3, 200, 400), (1.0, 1000, 1000)):
        folder = tmp_path / str(share)
        written = log(folder, sample=share)
        for number in range(1000):
            written.add(str(number), [ROW], [0.5])
        written.close()
        lines = [json.loads(line) for path in folder.glob("*") for line in path.read_text().splitlines()]
        assert low <= len(lines) <= high
