"""Callers who mean no good, or know no better: what they send is refused, and takes nothing from the others."""

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
    """Leaves a file behind if somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def routes(trained: Path) -> list[str]:
    """Every path that the service has a route for."""
    done = subprocess.run(
        [sys.executable, "-c", ROUTES], cwd=trained, env=environment(), capture_output=True, text=True, check=True
    )
    told: list[str] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.attempts("pickle to a route")
def test_no_route_unpickles(server: Server, routes: list[str], tmp_path: Path) -> None:
    assert {"/predict", "/model", "/metrics", "/readyz", "/schema.json", "/"} <= set(routes)
    canary = pickle.dumps(Canary(tmp_path / "was-here"))
    kinds = ["application/vnd.bentoml+pickle", "application/octet-stream", "application/json", "application/x-pickle"]
    with httpx.Client(base_url=server.url) as client:
        for path in [*routes, "/predict/submit", "/unknown", "/static_content/x"]:
            for method in ("POST", "PUT", "GET"):
                for kind in kinds:
                    answer = client.request(method, path, content=canary, headers={"content-type": kind})
                    (works if answer.is_success else refused)(answer.status_code, f"{method} {path} {kind}")
                    assert (answer.status_code in (400, 404, 405, 415)) or method == "GET", (path, kind, answer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.attempts("media type")
@pytest.mark.parametrize(
    ("kind", "status"),
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
def test_the_media_type_is_compared_exactly(server: Server, kind: str, status: int) -> None:
    sent = json.dumps({"rows": [GOOD]})
    answer = httpx.post(f"{server.url}/predict", content=sent, headers={"content-type": kind} if kind else {})
    assert answer.status_code == status
    (works if answer.is_success else refused)(f"{status} {answer.json().get('error', '')}", kind)


@pytest.mark.attempts("bad request")
def test_a_compressed_body_is_refused(server: Server) -> None:
    sent = gzip.compress(json.dumps({"rows": [GOOD]}).encode())
    heads = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = httpx.post(f"{server.url}/predict", content=sent, headers=heads)
    assert (answer.status_code, "compressed" in answer.json()["error"]) == (415, True)
    refused(f"415 {answer.json()['error']}")


@pytest.mark.attempts("bad request")
@pytest.mark.parametrize("moment", ["2013-02-05T12:30:00Z", "2013-02-05 12:30", "2013-02-30T12:30:00"])
def test_a_moment_in_another_form_gets_a_sentence(server: Server, moment: str) -> None:
    answer = httpx.post(f"{server.url}/predict", json={"rows": [GOOD | {"sched_dep": moment}]})
    told = answer.json()["fields"]["rows.0.sched_dep"]
    assert answer.status_code == 422
    assert "without a time zone (no Z" in told
    assert "[0-9]" not in told
    refused(f"422 {told}")


@pytest.mark.attempts("hostile caller")
def test_metrics_do_not_grow_with_what_strangers_ask_for(server: Server) -> None:
    def ask(times: int) -> int:
        with httpx.Client(base_url=server.url) as client:
            for _ in range(times):
                for path in ("/", "/predict/", "/static_content/", "/model%2f", "/metrics/"):
                    client.get(path + secrets.token_hex(4))
            return len(client.get("/metrics").text.splitlines())

    assert ask(100) == ask(1)  # the first call may add the label of unknown paths
    assert 'endpoint="/unknown"' in httpx.get(f"{server.url}/metrics").text
    works()


@pytest.mark.attempts("hostile caller")
def test_stalled_requests_shut_nobody_out_and_are_ended(start: Start) -> None:
    # given a service that takes two requests at once, and sixteen clients that begin one and go silent
    server = start(max_concurrency=2, body_seconds=2)
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    begun = [head + b'Content-Length: 500\r\n\r\n{"rows"', head]
    stalled = [socket.create_connection(address, timeout=60) for _ in range(16)]
    for number, one in enumerate(stalled):
        one.sendall(begun[number % 2])
    # then others are answered
    for _ in range(5):
        assert httpx.post(f"{server.url}/predict", json={"rows": [GOOD]}).status_code == 200
    # and those who never finish are told so, or hung up on
    ends = [one.recv(1000) for one in stalled]
    assert all(b" 408 " in end for end in ends[::2]), ends
    assert all(end == b"" for end in ends[1::2]), ends
    for one in stalled:
        one.close()
    refused(ends[0].splitlines()[0].decode(), "a body that never ends")
    works("hung up on", "a head that never ends")


@pytest.mark.attempts("hostile caller")
def test_only_who_has_the_token_is_answered(start: Start) -> None:
    server = start(token=TOKEN)
    wrong = (TOKEN, f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"Bearer{TOKEN}", "Bearer", "Bearer é", "")
    for given in ({}, *({"authorization": value} for value in wrong)):
        heads = {name: value.encode() for name, value in given.items()}
        answer = httpx.post(f"{server.url}/predict", json={"rows": [GOOD]}, headers=heads)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert TOKEN not in answer.text
        refused(f"401 {answer.text}", f"token {str(given).replace(TOKEN, '…')}")
    for scheme in ("Bearer", "bearer"):  # its case does not count
        heads = {"authorization": f"{scheme} {TOKEN}"}
        assert httpx.post(f"{server.url}/predict", json={"rows": [GOOD]}, headers=heads).status_code == 200
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    assert "bearer" in httpx.get(f"{server.url}/openapi.json").text


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (HEAD, b"X: y\r\n"),
        (HEAD + b"X: ", b"yyyyyy"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"yyyyyy"),
    ],
    ids=["many headers", "one header", "many trailers", "one trailer"],
)
def test_headers_without_end_are_cut_off(server: Server, begin: bytes, more: bytes) -> None:
    # given a client whose headers would take more memory than the container has
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=60) as client:
        client.sendall(begin)
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):  # noqa: PT012
            for _ in range(100):
                client.sendall(more * 100_000)
    assert httpx.post(f"{server.url}/predict", json={"rows": [GOOD]}).status_code == 200


def test_headers_of_a_usual_size_pass(server: Server) -> None:
    heads = {"cookie": "x" * 30_000, "content-type": "application/json"}
    sent = json.dumps({"rows": [GOOD] * 900})
    with httpx.Client(base_url=server.url, headers=heads) as client:
        assert [client.post("/predict", content=sent).status_code for _ in range(3)] == [200] * 3
