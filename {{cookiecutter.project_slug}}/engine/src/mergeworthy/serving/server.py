"""The service's process: `python -m mergeworthy.service`.

One process holds the port, loads the model and answers, so that a failed start is one line and an exit, and no worker
can outlive its parent (`bentoml serve` starts a second process and restarts it for ever). BentoML's application is
the same: health, readiness, metrics and the page at `/`.
"""

import argparse
import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .. import config as settings
from ..errors import UserError
from ..paths import MODEL
from ..text import say

UNKNOWN = "/unknown"  # the label that all paths without a route share in /metrics
READY = "/readyz"
KEEP_ALIVE = 5  # seconds that an idle connection is kept
GRACE = 10  # seconds that requests in flight get after the drain
HEAD_BYTES = 65_536  # of a request line and its headers, in whole reads of at most 256 kB each
CLOSE = (b"connection", b"close")


class Front:
    """Stands before BentoML's application, whose metrics keep every path for ever, and whose readiness ends too late.

    While `draining`, `/readyz` answers 503 and every answer closes its connection, so that clients go elsewhere.
    """

    def __init__(self, app: Any, paths: frozenset[str]) -> None:
        self.draining, self.paths = False, paths
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, under the path `UNKNOWN` if it has no route."""
        if scope["type"] == "http":
            if scope["path"] not in self.paths:
                scope = scope | {"path": UNKNOWN, "raw_path": UNKNOWN.encode()}
            if self.draining:
                send = _closing(send)
                if scope["path"] == READY:
                    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
                    await send({"type": "http.response.body", "body": b""})
                    return
        await self._app(scope, receive, send)


def _closing(send: Any) -> Any:
    async def closing(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], CLOSE]
        await send(message)

    return closing


def paths(app: Starlette) -> Iterator[str]:
    """Yield every path that has a route, those of mounted applications and of static files included."""
    for route in app.routes:
        if isinstance(route, Route):
            yield route.path
        elif isinstance(route, Mount) and isinstance(route.app, Starlette):
            yield from (route.path + inner for inner in paths(route.app))
        elif isinstance(route, Mount) and isinstance(route.app, StaticFiles):
            folder = Path(str(route.app.directory))
            yield from (f"{route.path}/{file.relative_to(folder).as_posix()}" for file in folder.rglob("*"))


class Protocol(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1, which keeps headers, trailers and chunk extensions of any length in memory, with a limit.

    Reads that neither end the headers, nor bring a part of the body, nor end the request add up to `HEAD_BYTES`; then
    the connection is closed, with an answer if none is on its way.
    """

    _bytes, _advanced = 0, False

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and close the connection if it leads nowhere."""
        self._bytes += len(data)
        self._advanced = False
        super().data_received(data)
        if self._advanced:
            self._bytes = 0
        elif self._bytes > HEAD_BYTES and not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.send_400_response(f"The request has more than {HEAD_BYTES:,} bytes of headers.")
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Begin the request."""
        self._advanced = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._advanced = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._advanced = True
        super().on_message_complete()


class Server(uvicorn.Server):
    """Uvicorn that drains on SIGTERM: for `drain_seconds` it goes on accepting, then finishes what is in flight.

    With `parent`, a process id, it stops as soon as that is no longer the parent. SIGINT stops at once. A connection
    that takes longer than `body_seconds` for the headers of a request is closed.
    """

    def __init__(self, config: uvicorn.Config, front: Front, limits: settings.Serving, parent: int | None) -> None:
        super().__init__(config)
        self._front, self._drain, self._patience, self._parent = (
            front,
            limits.drain_seconds,
            limits.body_seconds,
            parent,
        )
        self._end: float | None = None
        self._silent: dict[Any, float] = {}

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain on the first SIGTERM; leave other signals to uvicorn."""
        if sig == signal.SIGTERM and self._end is None:
            self._front.draining, self._end = True, time.monotonic() + self._drain
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Tell, ten times a second, whether to stop."""
        now = time.monotonic()
        if counter % 10 == 0:
            self._hang_up_on_silence(now)
            if self._parent is not None and os.getppid() != self._parent:
                self.should_exit = True
        if self._end is not None and now >= self._end:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept whoever has connected already, since closing the port would reset them; then stop as uvicorn does."""
        self._front.draining = True
        loop, arrived = asyncio.get_running_loop(), []
        for listener in sockets or []:
            while (connection := _accept(listener)) is not None:
                arrived.append(loop.create_task(loop.connect_accepted_socket(self._protocol, connection)))
        await super().shutdown(sockets)
        await asyncio.gather(*arrived, return_exceptions=True)

    def _protocol(self) -> asyncio.Protocol:
        state = self.lifespan.state
        kind: Any = self.config.http_protocol_class
        made: asyncio.Protocol = kind(config=self.config, server_state=self.server_state, app_state=state)
        return made

    def _hang_up_on_silence(self, now: float) -> None:
        """Close connections that wait for the rest of a request's headers; uvicorn itself would wait for ever."""
        waiting = [
            one
            for one in map(_any, self.server_state.connections)
            if (one.cycle is None or one.cycle.response_complete) and one.timeout_keep_alive_task is None
        ]
        self._silent = {one: self._silent.get(one, now) for one in waiting}
        for one, since in self._silent.items():
            if now - since > self._patience:
                one.transport.close()


def _any(value: Any) -> Any:
    return value


def _accept(listener: socket.socket) -> socket.socket | None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return None
    connection.setblocking(False)
    return connection


def listen(host: str, port: int) -> socket.socket:
    """Bind the port; raise `UserError` if that cannot be done, because another program has it for instance."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        raise UserError(
            f"port {port} of {host} cannot be had ({error.strerror}): stop the program that has it, or choose another "
            "port: `make serve PORT=3001`"
        ) from None
    listener.setblocking(False)
    return listener


def application(bento: Any, api: Starlette) -> Front:
    """Load the model into `api` and return the application of the service `bento`, which mounts it.

    Raises `UserError` if the model cannot be served.
    """
    if not MODEL.exists():
        raise UserError(f"{MODEL} is missing: run `make pipeline`, or `dvc pull {MODEL}`")
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # one process keeps its figures in memory
    os.environ["PROMETHEUS_DISABLE_CREATED_SERIES"] = "true"
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.context import server_context
    from bentoml._internal.log import configure_server_logging
    from bentoml._internal.server.metrics.prometheus import PrometheusClient

    BentoMLContainer.metrics_client.set(PrometheusClient(multiproc=False))
    from . import start

    configure_server_logging()  # type: ignore[no-untyped-call]
    server_context.service_name = server_context.bento_name = bento.name
    server_context.service_type = "entry_service"
    app = bento.to_asgi()
    server_context.bento_version = start.start(api).version
    return Front(app, frozenset(paths(app)))


def serve(bento: Any, api: Starlette, host: str, port: int, parent: int | None) -> None:
    """Answer at `host` and `port` until a signal comes."""
    limits = settings.infra().serving
    listener = listen(host, port)
    front = application(bento, api)
    config = uvicorn.Config(
        front,
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )
    say(f"the model answers at http://{host}:{port} (Ctrl+C stops it)")
    Server(config, front, limits, parent).run(sockets=[listener])


def main(bento: Any, api: Starlette) -> None:
    """Serve `bento` as the command line says; BENTOML_HOST and BENTOML_PORT are its defaults."""
    options = argparse.ArgumentParser(prog="python -m mergeworthy.service", description="Serve the model over HTTP")
    options.add_argument("--host", default=os.environ.get("BENTOML_HOST", "0.0.0.0"))  # noqa: S104 - in a container
    options.add_argument("--port", type=int, default=os.environ.get("BENTOML_PORT", "3000"))
    options.add_argument("--with-parent", action="store_true", help="stop when the process that starts this one ends")
    given = options.parse_args()
    serve(bento, api, given.host, given.port, os.getppid() if given.with_parent else None)
