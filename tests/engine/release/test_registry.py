"""A registry that answers otherwise than one does is one sentence, and never a digest."""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from tests.attempts import refusal

from mergeworthy.release import publish

GOOD = "sha256:" + "0" * 64
Answer = tuple[int, dict[str, str], bytes]
Serve = Callable[[dict[str, Answer]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve answers by the beginning of their path, and return the registry's host."""
    servers = []

    def begin(answers: dict[str, Answer]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = next(answer for path, answer in answers.items() if self.path.startswith(path))
                status, headers, body = known
                if "Bearer" in self.headers.get("Authorization", "") and status == publish.UNAUTHORIZED:
                    status, headers = 200, {"Docker-Content-Digest": GOOD}
                self.send_response(status)
                host = f"127.0.0.1:{server.server_port}"
                for name, value in headers.items():
                    self.send_header(name, value.replace("HOST", host))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        return f"127.0.0.1:{server.server_port}"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def challenge(realm: str) -> Answer:
    return publish.UNAUTHORIZED, {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}, b""


def test_a_token_is_asked_for_where_the_registry_says(serve: Serve) -> None:
    host = serve({"/v2/": challenge("http://HOST/token"), "/token": (200, {}, b'{"token": "t"}')})
    assert publish.remote_digest(f"{host}/x/y:1") == GOOD


@pytest.mark.attempts("registry")
@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"/v2/": (200, {"Docker-Content-Digest": "latest"}, b"")}, "answers 'latest': a digest sha256:… is expected"),
        ({"/v2/": (500, {}, b"")}, "refused .*: HTTP 500"),
        ({"/v2/": challenge("file:///etc/passwd")}, "names file:///etc/passwd for its tokens: https://… is expected"),
        ({"/v2/": challenge("http://HOST/token"), "/token": (200, {}, b"<html>")}, "gives no token for the registry"),
        ({"/v2/": challenge("http://HOST/token"), "/token": (200, {}, b"{}")}, "gives no token for the registry"),
        ({"/v2/": challenge("http://HOST/token"), "/token": (200, {}, b"[]")}, "gives no token for the registry"),
        ({"/v2/": challenge("http://127.0.0.1:9/token")}, "does not answer"),
    ],
    ids=["no digest", "broken", "a file", "a page", "no token", "a list", "tokens of nobody"],
)
def test_another_answer_is_one_sentence(serve: Serve, answers: dict[str, Answer], message: str) -> None:
    host = serve(answers)
    with refusal(message):
        publish.remote_digest(f"{host}/x/y:1")
