"""The service's process: `python -m mergeworthy.serving.service`.

One process holds the port, loads the model and answers. So a failed start is one line and an exit, and no worker can
outlive its parent (`bentoml serve` starts a second process and restarts it for ever). The application is BentoML's:
health, readiness, metrics and the page at `/`.
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
from ..files import MODEL
from ..text import say
from .schema import PREDICT_PATH

READY_PATH = "/readyz"
UNKNOWN_PATH = "/unknown"  # in /metrics the label of every path without a route
KEEP_ALIVE_SECONDS = 5  # an idle connection is closed after this
GRACE_SECONDS = 10  # for requests in flight, after the drain
BACKLOG = 2048  # connections that wait to be accepted
MAX_HEADER_BYTES = 65_536  # of a request line and its headers, in whole reads of at most 256 kB each
TICKS_PER_CHECK = 10  # uvicorn ticks ten times a second
CLOSE_HEADER = (b"connection", b"close")


def main(bento: Any, api: Starlette) -> None:
    """Serve `bento` with the options of the command line; BENTOML_HOST and BENTOML_PORT are their defaults."""
    parser = argparse.ArgumentParser(prog="python -m mergeworthy.serving.service", description="Serve the model")
    parser.add_argument("--host", default=os.environ.get("BENTOML_HOST", "0.0.0.0"))  # noqa: S104 - in a container
    parser.add_argument("--port", type=int, default=os.environ.get("BENTOML_PORT", "3000"))
    parser.add_argument("--with-parent", action="store_true", help="stop when the process that starts this one ends")
    options = parser.parse_args()
    serve(bento, api, options.host, options.port, os.getppid() if options.with_parent else None)


def serve(bento: Any, api: Starlette, host: str, port: int, parent: int | None) -> None:
    """Answer at `host` and `port` until a signal arrives."""
    limits = settings.infra().serving
    listener = listen(host, port)
    app = application(bento, api)
    config = uvicorn.Config(
        app,
        http=BoundedHttpProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    say(f"the model answers at http://{host}:{port} (Ctrl+C stops it)")
    DrainingServer(config, app, limits, parent).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the port; raise `UserError` if it cannot, e.g. because the port is in use."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise UserError(
            f"port {port} of {host} is not available ({error.strerror}): stop the program that uses it, or choose "
            "another port: `make serve PORT=3001`"
        ) from None
    listener.setblocking(False)
    return listener


def application(bento: Any, api: Starlette) -> "OuterApp":
    """Load the model into `api` and return the application of the service `bento`, which mounts it.

    Raises `UserError` if the model cannot be served.
    """
    if not MODEL.exists():
        raise UserError(f"{MODEL} is missing: run `make pipeline`, or `dvc pull {MODEL}`")
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # a single process keeps its metrics in memory
    os.environ["PROMETHEUS_DISABLE_CREATED_SERIES"] = "true"
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.context import server_context
    from bentoml._internal.log import configure_server_logging
    from bentoml._internal.server.metrics.prometheus import PrometheusClient

    BentoMLContainer.metrics_client.set(PrometheusClient(multiproc=False))
    from .app import start

    configure_server_logging()  # type: ignore[no-untyped-call]
    server_context.service_name = server_context.bento_name = bento.name
    server_context.service_type = "entry_service"
    app = bento.to_asgi()
    started = start(api)
    server_context.bento_version = started.version
    return OuterApp(app, frozenset(paths(app)), started.predict, started.predictions, Traffic(app))


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


class Traffic:
    """BentoML's metrics of requests to `/predict`, with the labels looked up once and not six times a request."""

    def __init__(self, app: Starlette) -> None:
        from bentoml._internal.context import server_context
        from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware

        app.middleware_stack = middleware = app.build_middleware_stack()
        while not isinstance(middleware, RunnerTrafficMetricsMiddleware):
            middleware = _untyped(middleware).app
        middleware._setup()
        names: dict[str, Any] = {
            "service_name": server_context.bento_name,
            "service_version": server_context.bento_version,
        }
        names["runner_name"] = server_context.service_name
        self._labels = names | {"endpoint": PREDICT_PATH}
        self._total, self._duration = middleware.metrics_request_total, middleware.metrics_request_duration
        self._last = middleware.metrics_last_request_timestamp.labels(**names)
        self._in_progress = middleware.metrics_request_in_progress.labels(**self._labels)
        self._of_status: dict[int, tuple[Any, Any]] = {}

    async def count(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        """Call the application, and count its answer."""
        start, status = time.perf_counter(), 500

        async def send_and_count(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        self._last.set_to_current_time()
        self._in_progress.inc()
        try:
            await app(scope, receive, send_and_count)
        finally:
            self._in_progress.dec()
            total, duration = self._of_status.get(status) or self._labelled(status)
            total.inc()
            duration.observe(time.perf_counter() - start)

    def _labelled(self, status: int) -> tuple[Any, Any]:
        labels = self._labels | {"http_response_code": status}
        self._of_status[status] = self._total.labels(**labels), self._duration.labels(**labels)
        return self._of_status[status]


class OuterApp:
    """The ASGI application around BentoML's, whose metrics keep every path for ever and which stays ready too long.

    A prediction goes past BentoML's application. A path without a route is passed on as `UNKNOWN_PATH`. While
    `draining`, `/readyz` answers 503 and every answer closes its connection, so that clients connect elsewhere.
    """

    def __init__(self, app: Any, paths: frozenset[str], predict: Any, predictions: Any, traffic: Traffic) -> None:
        self.draining, self.paths, self.predictions = False, paths, predictions
        self._app, self._predict, self._traffic = app, predict, traffic

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, under the path `UNKNOWN_PATH` if it has no route."""
        if scope["type"] == "http":
            path = scope["path"]
            if self.draining:
                send = _closing(send)
            if path == PREDICT_PATH and scope["method"] == "POST":
                await self._traffic.count(self._predict, scope, receive, send)
                return
            if path not in self.paths:
                scope = scope | {"path": UNKNOWN_PATH, "raw_path": UNKNOWN_PATH.encode()}
            if self.draining and path == READY_PATH:
                await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
                await send({"type": "http.response.body", "body": b""})
                return
        await self._app(scope, receive, send)


def _closing(send: Any) -> Any:
    async def send_and_close(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], CLOSE_HEADER]
        await send(message)

    return send_and_close


class BoundedHttpProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1 with a limit: without it, headers, trailers and chunk extensions of any length fill memory.

    Reads that neither end the headers, nor bring a part of the body, nor end the request add up to `MAX_HEADER_BYTES`;
    then the connection is closed, with an answer if none is on its way.
    """

    _header_bytes, _advanced = 0, False

    def data_received(self, data: bytes) -> None:
        """Parse the data, and close the connection if its headers have become too long."""
        self._header_bytes += len(data)
        self._advanced = False
        super().data_received(data)
        if self._advanced:
            self._header_bytes = 0
        elif self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.send_400_response(f"The request has more than {MAX_HEADER_BYTES:,} bytes of headers.")
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


class DrainingServer(uvicorn.Server):
    """Uvicorn that drains on SIGTERM: for `drain_seconds` it goes on accepting, then finishes what is in flight.

    With `parent`, a process id, it stops as soon as that is no longer the parent. SIGINT stops at once. A connection
    that takes longer than `body_seconds` for the headers of a request is closed.
    """

    def __init__(self, config: uvicorn.Config, app: OuterApp, limits: settings.Serving, parent: int | None) -> None:
        super().__init__(config)
        self._app, self._parent = app, parent
        app.predictions.running = self.server_state.tasks
        self._drain_seconds, self._header_seconds = limits.drain_seconds, limits.body_seconds
        self._drain_end: float | None = None
        self._silent_since: dict[Any, float] = {}

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain on the first SIGTERM; leave other signals to uvicorn."""
        if sig == signal.SIGTERM and self._drain_end is None:
            self._app.draining, self._drain_end = True, time.monotonic() + self._drain_seconds
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop; uvicorn asks ten times a second."""
        now = time.monotonic()
        if counter % TICKS_PER_CHECK == 0:
            self._close_silent_connections(now)
            if self._parent is not None and os.getppid() != self._parent:
                self.should_exit = True
        if self._drain_end is not None and now >= self._drain_end:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept clients that have already connected, since closing the port would reset them; then stop as uvicorn."""
        self._app.draining = True
        loop, accepted = asyncio.get_running_loop(), []
        for listener in sockets or []:
            while (connection := _accept(listener)) is not None:
                accepted.append(loop.create_task(loop.connect_accepted_socket(self._protocol, connection)))
        await super().shutdown(sockets)
        await asyncio.gather(*accepted, return_exceptions=True)

    def _protocol(self) -> asyncio.Protocol:
        state = self.lifespan.state
        protocol_class: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = protocol_class(config=self.config, server_state=self.server_state, app_state=state)
        return protocol

    def _close_silent_connections(self, now: float) -> None:
        """Close connections that wait too long for the rest of a request's headers; uvicorn waits for ever."""
        waiting = [
            connection
            for connection in map(_untyped, self.server_state.connections)
            if (connection.cycle is None or connection.cycle.response_complete)
            and connection.timeout_keep_alive_task is None
        ]
        self._silent_since = {connection: self._silent_since.get(connection, now) for connection in waiting}
        for connection, since in self._silent_since.items():
            if now - since > self._header_seconds:
                connection.transport.close()


def _untyped(value: Any) -> Any:
    """Return the value as `Any`: the types of uvicorn's protocols lack the attributes that are read here."""
    return value


def _accept(listener: socket.socket) -> socket.socket | None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return None
    connection.setblocking(False)
    return connection
