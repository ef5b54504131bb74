"""How the stand-in is reached: a proxy on the loopback interface that answers for GitHub's host names itself.

Clients are told `HTTPS_PROXY`. A CONNECT to one of `HOSTS` ends here, under a certificate of the test authority. One to
any other host is recorded and passed on, so that package indexes work and a test can say who was contacted.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

HOSTS = ("github.com", "api.github.com", "uploads.github.com")


@dataclass(frozen=True)
class Request:
    """One request to GitHub."""

    method: str
    host: str
    path: str
    query_string: str
    headers: Any
    body: bytes = field(repr=False)

    @property
    def query(self) -> dict[str, str]:
        """The query as a mapping; of a repeated key the last value."""
        return dict(parse_qsl(self.query_string))


@dataclass(frozen=True)
class Response:
    """What goes back; `body` is sent as it is."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Server(ThreadingHTTPServer):
    """The proxy. `answer` is called for every request to GitHub, in a thread of its own."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[Request], Response], tls: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Proxy)
        self.answer, self.tls = answer, tls
        self.contacted: set[str] = set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        pass


class _Proxy(_Handler):
    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        self.server.contacted.add(host)
        self.close_connection = True
        if host in HOSTS:
            self.send_response(200)
            self.end_headers()
            with self.server.tls.wrap_socket(self.connection, server_side=True) as tls:
                _GitHub(tls, self.client_address, self.server)
            return
        try:
            upstream = socket.create_connection((host, int(port)), timeout=20)
        except OSError as error:
            self.send_error(502, str(error))
            return
        self.send_response(200)
        self.end_headers()
        upstream.settimeout(None)
        with upstream:
            back = threading.Thread(target=_pump, args=(upstream, self.connection), daemon=True)
            back.start()
            _pump(self.connection, upstream)
            back.join()


class _GitHub(_Handler):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        url = urlsplit(self.path)
        host = self.headers.get("Host", "").partition(":")[0]
        request = Request(self.command, host, url.path, url.query, self.headers, self._body())
        response = self.server.answer(request)
        self.send_response(response.status)
        for key, value in response.headers.items():
            self.send_header(key, value)
        if response.status != 204:
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else response.body)

    def _body(self) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(1 << 16):
            target.sendall(block)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
