"""A bad request is a 4xx that names the field, overload is 503, and no request causes another 5xx."""

import json
import re
import subprocess
import sys
import threading
from typing import Any

import httpx
import pytest
from tests.attempts import refused, works
from tests.engine.serving.conftest import Server, Start, environment

Golden = tuple[list[dict[str, Any]], list[float]]
GOOD = {
    "sched_dep": "2013-02-05T12:30:00",
    "sched_arr": 800,
    "carrier": "AA",
    "flight": 1,
    "tailnum": None,
    "origin": "EWR",
    "dest": "LAX",
    "distance": 2400,
}


def body(**changed: Any) -> str:
    """Return a request with one changed row; NaN is written as Python writes it."""
    return json.dumps({"rows": [GOOD | changed]})


def differences(sent: str) -> str:
    """Return a request without the fields that it shares with a good one."""
    for name, value in GOOD.items():
        sent = re.sub(rf"{json.dumps(name)}: {json.dumps(value)}(, |(?=}}))", "", sent)
    return sent


@pytest.mark.attempts("bad request")
@pytest.mark.parametrize(
    ("sent", "status", "field"),
    [
        (json.dumps({"rows": [{k: v for k, v in GOOD.items() if k != "origin"}]}), 422, "rows.0.origin"),
        (body(dep_delay=3), 422, "rows.0.dep_delay"),
        (body(distance="far"), 422, "rows.0.distance"),
        (body(distance=2400.5), 422, "rows.0.distance"),
        (body(distance=float("nan")), 422, "rows.0.distance"),
        (body(distance=None), 422, "rows.0.distance"),
        (body(distance=100_000), 422, "rows.0.distance"),
        (body(flight=10**30), 422, "rows.0.flight"),
        (body(origin="BOS"), 422, "rows.0.origin"),
        (body(carrier="aa"), 422, "rows.0.carrier"),
        (body(sched_dep="2013-02-29T12:30:00"), 422, "rows.0.sched_dep"),
        (body(sched_dep="2013-02-05T12:30:00Z"), 422, "rows.0.sched_dep"),
        (body(sched_dep=1_360_000_000), 422, "rows.0.sched_dep"),
        (json.dumps({"rows": []}), 422, "rows"),
        (json.dumps({"rows": [GOOD] * 1001}), 422, "rows"),
        (json.dumps({"rows": [GOOD] * 100_000}), 413, "body"),
        (json.dumps([GOOD]), 422, "body"),
        (json.dumps({"row": [GOOD]}), 422, "rows"),
        ("rows=1", 400, "JSON"),
        ("", 400, "JSON"),
        ('{"rows": [{"carrier": "\\ud800"}]}', 400, "JSON"),
    ],
)
def test_a_bad_request_names_the_field(server: Server, sent: str, status: int, field: str) -> None:
    answer = httpx.post(f"{server.url}/predict", content=sent, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert field in answer.json()["error"]
    assert len(answer.text) < 5000
    refused(f"{status} {answer.json()['error']}", differences(sent))


@pytest.mark.attempts("good request")
def test_a_good_request_is_scored(server: Server) -> None:
    assert httpx.post(f"{server.url}/predict", json={"rows": [GOOD]}).status_code == 200
    leap = GOOD | {"sched_dep": "2012-02-29T23:59", "sched_arr": 800.0}  # an integer in JSON too
    assert httpx.post(f"{server.url}/predict", json={"rows": [GOOD, leap]}).status_code == 200
    works()


@pytest.mark.attempts("bad request")
def test_other_methods_and_types_are_refused(server: Server) -> None:
    answer = httpx.get(f"{server.url}/predict")
    assert answer.status_code == 405
    refused(f"405 {answer.text}", "GET /predict")
    form = httpx.post(f"{server.url}/predict", data={"rows": "1"})
    assert (form.status_code, "application/json" in form.text) == (415, True)
    refused(f"415 {form.text}", "a form")


@pytest.mark.alone
def test_overload_is_refused_and_survived(start: Start, golden: Golden) -> None:
    # given a service that accepts two requests at once
    server, statuses = start(max_concurrency=2), list[int]()

    def ask() -> None:
        with httpx.Client(base_url=server.url) as client:
            statuses.extend(client.post("/predict", json={"rows": golden[0][:500]}).status_code for _ in range(10))

    # when sixteen clients ask at once
    clients = [threading.Thread(target=ask) for _ in range(16)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    # then some are refused, none fails, and the service still answers
    assert set(statuses) == {200, 503}
    assert httpx.post(f"{server.url}/predict", json={"rows": [GOOD]}).status_code == 200


def test_a_fuzzer_finds_no_failure(server: Server) -> None:
    options = ["--max-examples", "100", "--seed", "1", "--workers", "1", "--no-color", "--generation-database", "none"]
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), cwd=server.folder)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
