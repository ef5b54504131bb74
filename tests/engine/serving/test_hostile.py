"""Hostile and careless clients: their requests are refused, and cost other clients nothing."""

import gzip
import json
import pickle
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.attempts import refused, works
from tests.engine.serving.conftest import Server, Start, environment
from tests.engine.serving.test_refusals import GOOD

TOKEN = secrets.token_hex(16)
ROUTES = """
import json
from mergeworthy.serving.service import Service, api
from mergeworthy.serving.server import application
print(json.dumps(sorted(application(Service, api).paths)))
"""


class Canary:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def routes(trained: Path) -> list[str]:
    """Return every path that the service has a route for."""
    result = subprocess.run(
        [sys.executable, "-c", ROUTES], cwd=trained, env=environment(), capture_output=True, text=True, check=True
    )
    paths: list[str] = json.loads(result.stdout.splitlines()[-1])
    return paths


@pytest.mark.attempts("pickle to a route")
def test_no_route_unpickles(server: Server, routes: list[str], tmp_path: Path) -> None:
    assert {"/predict", "/model", "/metrics", "/readyz", "/schema.json", "/"} <= set(routes)
    canary = pickle.dumps(Canary(tmp_path / "was-here"))
    media_types = [
        "application/vnd.bentoml+pickle",
        "application/octet-stream",
        "application/json",
        "application/x-pickle",
    ]
    with httpx.Client(base_url=server.url) as client:
        for path in [*routes, "/predict/submit", "/unknown", "/static_content/x"]:
            for method in ("POST", "PUT", "GET"):
                for media_type in media_types:
                    answer = client.request(method, path, content=canary, headers={"content-type": media_type})
                    (works if answer.is_success else refused)(answer.status_code, f"{method} {path} {media_type}")
                    assert (answer.status_code in (400, 404, 405, 415)) or method == "GET", (path, media_type, answer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.attempts("media type")
@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/vnd.bentoml+pickle+json", 415),
        ("application/jsonp", 415),
        ("text/json", 415),
        ("text/plain; application/json", 415),
        ("", 415),
    ],
)
def test_the_media_type_is_compared_exactly(server: Server, media_type: str, status: int) -> None:
    headers = {"content-type": media_type} if media_type else {}
    answer = httpx.post(f"{server.url}/predict", content=json.dumps({"rows": [GOOD]}), headers=headers)
    assert answer.status_code == status
    (works if answer.is_success else refused)(f"{status} {answer.json().get('error', '')}", media_type)


@pytest.mark.attempts("bad request")
def test_a_compressed_body_is_refused(server: Server) -> None:
    body = gzip.compress(json.dumps({"rows": [GOOD]}).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = httpx.post(f"{server.url}/predict", content=body, headers=headers)
    assert (answer.status_code, "compressed" in answer.json()["error"]) == (415, True)
    refused(f"415 {answer.json()['error']}")


@pytest.mark.attempts("bad request")
@pytest.mark.parametrize("moment", ["2013-02-05T12:30:00Z", "2013-02-05 12:30", "2013-02-30T12:30:00"])
def test_a_moment_in_another_form_is_refused_in_words(server: Server, moment: str) -> None:
    answer = httpx.post(f"{server.url}/predict", json={"rows": [GOOD | {"sched_dep": moment}]})
    message = answer.json()["fields"]["rows.0.sched_dep"]
    assert answer.status_code == 422
    assert "without a time zone (no Z" in message
    assert "[0-9]" not in message
    refused(f"422 {message}")


@pytest.mark.attempts("hostile caller")
def test_metrics_do_not_grow_with_unknown_paths(server: Server) -> None:
    def metric_lines(times: int) -> int:
        with httpx.Client(base_url=server.url) as client:
            for _ in range(times):
                for path in ("/", "/predict/", "/static_content/", "/model%2f", "/metrics/"):
                    client.get(path + secrets.token_hex(4))
            return len(client.get("/metrics").text.splitlines())

    assert metric_lines(100) == metric_lines(1)  # the first call may add the label of unknown paths
    assert 'endpoint="/unknown"' in httpx.get(f"{server.url}/metrics").text
    works()


@pytest.mark.attempts("hostile caller")
def test_stalled_requests_block_no_other_client_and_are_closed(start: Start) -> None:
    # given a service that accepts two requests at once, and sixteen clients that begin one and go silent
    server = start(max_concurrency=2, body_seconds=2)
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    headers = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    beginnings = [headers + b'Content-Length: 500\r\n\r\n{"rows"', headers]
    stalled = [socket.create_connection(address, timeout=60) for _ in range(16)]
    for number, client in enumerate(stalled):
        client.sendall(beginnings[number % 2])
    # then other clients are answered
    for _ in range(5):
        assert httpx.post(f"{server.url}/predict", json={"rows": [GOOD]}).status_code == 200
    # and the stalled ones get a 408, or their connection is closed
    answers = [client.recv(1000) for client in stalled]
    assert all(b" 408 " in answer for answer in answers[::2]), answers
    assert all(answer == b"" for answer in answers[1::2]), answers
    for client in stalled:
        client.close()
    refused(answers[0].splitlines()[0].decode(), "a body that never ends")
    works("connection closed", "headers that never end")


@pytest.mark.attempts("hostile caller")
def test_only_a_client_with_the_token_is_answered(start: Start) -> None:
    server = start(token=TOKEN)
    wrong = (TOKEN, f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"Bearer{TOKEN}", "Bearer", "Bearer é", "")
    for credentials in ({}, *({"authorization": value} for value in wrong)):
        headers = {name: value.encode() for name, value in credentials.items()}
        answer = httpx.post(f"{server.url}/predict", json={"rows": [GOOD]}, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert TOKEN not in answer.text
        refused(f"401 {answer.text}", f"token {str(credentials).replace(TOKEN, '…')}")
    for scheme in ("Bearer", "bearer"):  # the case does not count
        headers = {"authorization": f"{scheme} {TOKEN}"}
        assert httpx.post(f"{server.url}/predict", json={"rows": [GOOD]}, headers=headers).status_code == 200
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    assert "bearer" in httpx.get(f"{server.url}/openapi.json").text


HEADERS = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (HEADERS, b"X: y\r\n"),
        (HEADERS + b"X: ", b"yyyyyy"),
        (HEADERS + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
        (HEADERS + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"yyyyyy"),
    ],
    ids=["many headers", "one header", "many trailers", "one trailer"],
)
def test_endless_headers_are_cut_off(server: Server, begin: bytes, more: bytes) -> None:
    # given a client whose headers would take more memory than the container has
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=60) as client:
        client.sendall(begin)
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):  # noqa: PT012
            for _ in range(100):
                client.sendall(more * 100_000)
    assert httpx.post(f"{server.url}/predict", json={"rows": [GOOD]}).status_code == 200


def test_headers_of_a_usual_size_pass(server: Server) -> None:
    headers = {"cookie": "x" * 30_000, "content-type": "application/json"}
    body = json.dumps({"rows": [GOOD] * 900})
    with httpx.Client(base_url=server.url, headers=headers) as client:
        assert [client.post("/predict", content=body).status_code for _ in range(3)] == [200] * 3
