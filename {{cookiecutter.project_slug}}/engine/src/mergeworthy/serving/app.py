"""The HTTP API: checks on a request, the routes `/predict`, `/model` and `/openapi.json`, and headers of an answer.

`start` loads the model and connects the parts of the service. The identity of the model is read once, at the start;
every answer, `/model` and `/metrics` report it. BentoML adds health and readiness, and counts requests.
"""

import asyncio
import gc
import hmac
import os
import random
import re
import shutil
import subprocess
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np
import onnxruntime as ort
import prometheus_client
from numpy.typing import NDArray
from pandera.polars import DataFrameSchema
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .. import config as settings
from ..artifact import inputs, load
from ..config.infra import Serving
from ..data.contract import example_requests, private_columns, requested
from ..errors import UserError
from ..files import LOCK, MODEL, ONLINE, md5
from ..project import full_name, registered
from ..stats import Floats
from ..text import say
from .log import Log
from .schema import PREDICT_PATH, arrays, document, expected_forms, request
from .schema import columns as as_columns
from .scorer import HOW_TO_FIX, Batcher, EmbeddedStore, OnlineStore, Scorer

TRIAL_ROWS = 3  # several, because an array of one row hides a wrong shape
MAX_ROW_BYTES = 2048  # of one row in JSON; far more than a row of any usual table
MAX_ARRIVING_BYTES = 32_000_000  # of all bodies together that are still arriving
DECIMALS = 7  # of a score; float32 has no more
MAX_MISTAKES = 10  # that one answer lists
MAX_MISTAKE_LENGTH = 300  # characters
MAX_PATTERN_LENGTH = 100  # characters of a message that quotes a regular expression
JSON, IDENTITY = b"application/json", b"identity"
REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
TOKEN_VARIABLE = "SERVICE_TOKEN"  # noqa: S105 - the name of an environment variable
TOKEN_PATTERN = re.compile(r"[\x21-\x7e]{16,1024}")
RETRY_HEADER = ("retry-after", "1")
UNKNOWN = "unknown"  # an identity that cannot be determined
OTHER_FORM = "Value does not have the form that /openapi.json describes"


@dataclass(frozen=True)
class Identity:
    """Commit, registered version, MD5 of `dvc.lock` and of the model; `unknown` if not to be determined."""

    commit: str
    version: str
    lock: str
    model: str

    def labels(self) -> dict[str, str]:
        """Return the fields by name."""
        return asdict(self)


def read_identity() -> Identity:
    """Return the identity from files and git; MODEL_COMMIT, MODEL_LOCK and MODEL_VERSION replace them in an image."""
    return Identity(
        commit=os.environ.get("MODEL_COMMIT") or _head() or UNKNOWN,
        version=os.environ.get("MODEL_VERSION") or UNKNOWN,
        lock=os.environ.get("MODEL_LOCK") or (md5(LOCK) if LOCK.exists() else UNKNOWN),
        model=md5(MODEL),
    )


def _head() -> str:
    if shutil.which("git") is None:
        return ""
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()


class ModelMetrics:
    """Metrics of the model: scores, refused requests, answers missing from the log, identity, age of the data."""

    def __init__(self, identity: Identity, until: float | None) -> None:
        self._scores = ScoreHistogram()
        prometheus_client.REGISTRY.register(self._scores)
        self.refused = prometheus_client.Counter("model_refused", "Requests refused, by status", ["status"])
        self.lost = prometheus_client.Counter("model_log_lost", "Answers that the prediction log could not take")
        info = prometheus_client.Gauge("model_info", "Always 1: which model answers", list(identity.labels()))
        info.labels(**identity.labels()).set(1)
        if until is not None:
            name = "model_data_until_timestamp_seconds"
            prometheus_client.Gauge(name, "Newest event in the history").set(until)

    def scored(self, scores: list[float]) -> None:
        """Count what the task observes of one answer."""
        self._scores.count(scores)


class ScoreHistogram(Collector):
    """The histogram `model_score`: prometheus_client's takes two microseconds a score, as each takes its lock."""

    def __init__(self) -> None:
        self._edges = registered().task.histogram_edges
        self._counts, self._sum = [0] * (len(self._edges) + 1), 0.0

    def count(self, scores: list[float]) -> None:
        """Add scores; one thread alone may call this."""
        counts, edges = self._counts, self._edges
        for score in scores:
            counts[bisect_left(edges, score)] += 1
        self._sum += sum(scores)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histogram as it is now."""
        edges = [*map(str, self._edges), "+Inf"]
        counts = zip(edges, accumulate(self._counts), strict=True)
        yield HistogramMetricFamily("model_score", "Scores of the rows", list(counts), self._sum)


class Refusal(Exception):  # noqa: N818, an answer and no failure
    """An answer with an error status; `fields` maps the place of a mistake to what is expected there.

    If the rest of the request may still be arriving, the answer closes the connection (`close`).
    """

    def __init__(
        self,
        status: int,
        error: str,
        fields: dict[str, str] | None = None,
        *,
        header: tuple[str, str] | None = None,
        close: bool = False,
    ) -> None:
        self.status, self.headers = status, dict(filter(None, [header, ("connection", "close") if close else None]))
        self.content = {"error": error} | ({"fields": fields} if fields else {})


def required_token() -> bytes | None:
    """Return the bearer token set by SERVICE_TOKEN, None if it is unset; raise `UserError` if it is too weak."""
    token = os.environ.get(TOKEN_VARIABLE)
    if token is None:
        return None
    if not TOKEN_PATTERN.fullmatch(token):
        raise UserError(
            f"the environment variable {TOKEN_VARIABLE} must hold 16 to 1,024 visible ASCII characters without spaces: "
            "set it, for example to the output of `openssl rand -hex 32`, or unset it to serve requests without a token"
        )
    return token.encode()


def add_routes(
    app: Starlette, predictions: "Predictions", request: TypeAdapter[Any], identity: Identity, *, needs_token: bool
) -> None:
    """Add the API's routes, and the headers that name the model; BentoML's page at `/` reads `/docs.json`.

    `needs_token` means that `/predict` requires a bearer token.
    """
    task = registered().task
    description = JSONResponse(document(request, task, identity.labels(), needs_token=needs_token))
    model = JSONResponse(identity.labels())

    async def describe(_: Request) -> Response:
        return description

    async def identify(_: Request) -> Response:
        return model

    app.router.routes.append(Route(PREDICT_PATH, predictions, methods=["POST"]))
    app.add_route("/model", identify, methods=["GET"])
    app.add_route("/openapi.json", describe, methods=["GET"])
    app.add_route("/docs.json", describe, methods=["GET"])
    app.add_middleware(IdentityHeaders, identity=identity)


class Predictions:
    """The route `/predict`, an ASGI application: the server calls it without the frameworks, which cost more than it.

    `running` holds the tasks of all requests, if the server hands it over. A request that is alone there is scored at
    once; others wait for the end of the event loop's turn, so that they are scored together.
    """

    def __init__(
        self,
        request: TypeAdapter[Any],
        schema: DataFrameSchema,
        batcher: Batcher,
        log: Log,
        metrics: ModelMetrics,
        limits: Serving,
        token: bytes | None = None,
    ) -> None:
        self.running: Collection[Any] = ()
        self._validate, self._schema, self._batcher = request.validate_json, schema, batcher
        self._names, self._task = list(requested(schema)), registered().task
        self._log, self._metrics, self._token = log, metrics, token
        self._expected_forms, self._body_seconds = expected_forms(schema), limits.body_seconds
        self._max_body_bytes, self._max_inflight = limits.max_rows * MAX_ROW_BYTES, limits.max_concurrency
        self._inflight, self._arriving_bytes = 0, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Score the rows and log the answer; refuse a request that cannot be scored, with the reason."""
        headers = dict(reversed(scope["headers"]))  # of several with the same name the first counts
        try:
            self._check_headers(headers)
            columns, scores = await self._scored(await self._body(receive))
        except Refusal as refusal:
            self._metrics.refused.labels(status=str(refusal.status)).inc()
            await JSONResponse(refusal.content, refusal.status, refusal.headers)(scope, receive, send)
            return
        request_id = headers.get(b"x-request-id", b"").decode("latin-1")
        if not REQUEST_ID.fullmatch(request_id):
            request_id = f"{random.getrandbits(128):032x}"
        rounded = scores.astype(np.float64).round(DECIMALS)
        answer = to_json(self._task.answer(rounded))
        length, identifier = str(len(answer)).encode(), request_id.encode()
        fields = [(b"content-length", length), (b"content-type", JSON), (b"x-request-id", identifier)]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": answer})
        # In the loop's next turn, when the answer is on its way.
        asyncio.get_running_loop().call_soon(self._record, request_id, columns, rounded)

    def _record(self, request_id: str, columns: dict[str, list[Any]], scores: Floats) -> None:
        """Log and count an answer."""
        self._log.add(request_id, columns, scores.tolist())
        self._metrics.scored(self._task.observed(scores).tolist())

    async def _scored(self, body: bytes) -> tuple[dict[str, list[Any]], NDArray[np.float32]]:
        """Return the rows, column by column, and their scores.

        A request counts toward `max_concurrency` only here: a body that never arrives takes no place from others.
        """
        if self._inflight >= self._max_inflight:
            raise Refusal(503, "overloaded: try again after a second", header=RETRY_HEADER)
        self._inflight += 1
        try:
            rows = self._rows(body)
            columns = {name: [row[name] for row in rows] for name in self._names}
            if len(self.running) == 1:
                return columns, self._batcher.score(columns)
            return columns, await self._batcher(columns, len(rows))
        finally:
            self._inflight -= 1

    def _check_headers(self, headers: dict[bytes, bytes]) -> None:
        """Refuse a request without the right token, content type or encoding, before its body is read."""
        if self._token is not None:
            scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
            # The case of a scheme does not count (RFC 9110, 11.1).
            if not (hmac.compare_digest(token.lstrip(b" "), self._token) and scheme.lower() == b"bearer"):
                message = "authorization: expected the bearer token of this service"
                raise Refusal(401, message, header=("www-authenticate", "Bearer"), close=True)
        content_type = headers.get(b"content-type", b"")
        if content_type != JSON and content_type.partition(b";")[0].strip().lower() != JSON:
            raise Refusal(415, "content-type: expected application/json", close=True)
        if headers.get(b"content-encoding", IDENTITY).lower() != IDENTITY:
            message = "content-encoding: send the body as it is, not compressed"
            raise Refusal(415, message, header=("accept-encoding", "identity"), close=True)

    async def _body(self, receive: Any) -> bytes:
        parts, size, more = [], 0, True
        try:
            async with asyncio.timeout(self._body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(400, "the client disconnected before its body had arrived")
                    parts.append(part := message.get("body", b""))
                    more = message.get("more_body", False)
                    size += len(part)
                    self._arriving_bytes += len(part)
                    self._check_size(size)
        except TimeoutError:
            message = f"the body did not arrive within {self._body_seconds:g} seconds"
            raise Refusal(408, message, close=True) from None
        finally:
            self._arriving_bytes -= size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check_size(self, size: int) -> None:
        """Refuse a body of more than the limit, and any body while too much is arriving."""
        if size > self._max_body_bytes:
            message = f"the body is larger than {self._max_body_bytes:,} bytes: send fewer rows at once"
            raise Refusal(413, message, close=True)
        if self._arriving_bytes > max(MAX_ARRIVING_BYTES, self._max_body_bytes):
            message = "overloaded by requests that are still arriving: try again after a second"
            raise Refusal(503, message, header=RETRY_HEADER, close=True)

    def _rows(self, body: bytes) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = self._validate(body)["rows"]
        except ValidationError as error:
            mistakes = error.errors(include_url=False, include_context=False, include_input=False)
            if mistakes[0]["type"] == "json_invalid":
                raise Refusal(400, mistakes[0]["msg"]) from None
            fields = {
                ".".join(map(str, mistake["loc"])) or "body": self._expectation(mistake)
                for mistake in mistakes[:MAX_MISTAKES]
            }
            message = "; ".join(f"{place}: {expectation}" for place, expectation in fields.items())
            raise Refusal(422, message, fields) from None
        return rows

    def _expectation(self, mistake: ErrorDetails) -> str:
        """Return what was expected, in words; quote a regular expression only if it is short enough to be read."""
        if mistake["type"] == "string_pattern_mismatch":
            if sentence := self._expected_forms.get(str(mistake["loc"][-1])):
                return sentence
            if len(mistake["msg"]) > MAX_PATTERN_LENGTH:
                return OTHER_FORM
        return mistake["msg"][:MAX_MISTAKE_LENGTH]


class IdentityHeaders:
    """ASGI middleware that adds the model's identity to the headers of every answer."""

    def __init__(self, app: Any, identity: Identity) -> None:
        self._app = app
        self._headers = [(f"x-model-{name}".encode(), value.encode()) for name, value in identity.labels().items()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, and add the headers to its answer."""

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, receive, send_with_headers)


@dataclass(frozen=True)
class StartedService:
    """The route `/predict`, the log, which has to be closed at the end, and the version that metrics name."""

    predictions: Predictions
    predict: IdentityHeaders
    log: Log
    version: str


@cache
def start(api: Starlette) -> StartedService:
    """Load the model and add its routes to `api`, once; raise `UserError` if the model cannot be served."""
    limits, identity, schema = settings.infra().serving, read_identity(), registered().schema
    token = required_token()
    store, session = _store(), load()  # before metrics are registered, which cannot be done twice
    _try_features(session, store, schema)
    request_type = request(schema, limits.max_rows)
    metrics = ModelMetrics(identity, store.until)
    batcher = Batcher(Scorer(session, store, schema))
    logged = [name for name in requested(schema) if name not in private_columns(schema)]
    log = Log(limits.log, identity.labels(), logged, metrics.lost.inc)
    predictions = Predictions(request_type, schema, batcher, log, metrics, limits, token)
    add_routes(api, predictions, request_type, identity, needs_token=token is not None)
    # The objects of a start live as long as the process. Collecting them again held up all requests for 0.1 s.
    gc.collect()
    gc.freeze()
    return StartedService(predictions, IdentityHeaders(predictions, identity), log, identity.lock[:12])


def _try_features(session: ort.InferenceSession, store: OnlineStore, schema: DataFrameSchema) -> None:
    """Compute the model's inputs for rows made from the contract; raise `UserError` if a request could not be scored.

    Otherwise a mistake in `Online.derive` would show as a failure of the first request.
    """
    try:
        rows = example_requests(schema, TRIAL_ROWS)
    except UserError as error:
        say(f"the features are not tried before the first request: {error}")
        return
    columns = arrays(schema, as_columns(schema, rows))
    columns |= store.lookup(columns)
    project = registered()
    columns |= project.derive_arrays(columns, len(rows))
    if missing := [name for name in inputs(session) if name not in columns]:
        derive = f"{full_name(project.online.derive)} does not return it" if project.online else "Project(online=None)"
        raise UserError(
            f"the model reads {missing[0]}, which a request cannot provide: it is no column of {project.main} that is "
            f"known before the event, no history has it, and {derive}"
        )


def _store() -> EmbeddedStore:
    try:
        return EmbeddedStore(ONLINE, (registered().schema.metadata or {}).get("time"))
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file shows in many ways
        raise UserError(f"{ONLINE} cannot be read: {_first_line(error)}: {HOW_TO_FIX}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
