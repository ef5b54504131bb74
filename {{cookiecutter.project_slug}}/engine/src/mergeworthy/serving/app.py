"""The API: what a request may hold, the routes, and their description in OpenAPI."""

import asyncio
import hmac
import os
import re
import secrets
from typing import Any

import numpy as np
from pandera.polars import DataFrameSchema
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from ..config.infra import Serving
from ..errors import UserError
from .identity import Identity, ModelMetrics
from .log import Log
from .schema import document, formats
from .scorer import Batcher

# DOC serving.app: The HTTP side: `/predict`, `/model`, and what describes them. BentoML adds health, readiness and
# metrics.

ROW_BYTES = 2048  # what a row may take in JSON, generously
ARRIVING_BYTES = 32_000_000  # what bodies that are still on their way may take together
TOLD, WORDS = 10, 300  # of many mistakes in a request, and of a long one
ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
TOKEN, TOKEN_FORM = "SERVICE_TOKEN", re.compile(r"[\x21-\x7e]{16,1024}")
RETRY = ("retry-after", "1")
OTHER_FORM = "Value does not have the form that /openapi.json describes"


class Refused(Exception):  # noqa: N818, an answer and no failure
    """A request that is answered with an error; `fields` maps the place of a mistake to what is expected there.

    Where the rest of the request may still be on its way, the answer closes the connection (`close`).
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


def token() -> bytes | None:
    """Return the bearer token that SERVICE_TOKEN asks for, None if it is unset; raise `UserError` if it is too weak."""
    given = os.environ.get(TOKEN)
    if given is None:
        return None
    if not TOKEN_FORM.fullmatch(given):
        raise UserError(
            f"the environment variable {TOKEN} must hold 16 to 1,024 visible ASCII characters without spaces: "
            "set one, e.g. of `openssl rand -hex 32`, or unset it to let everybody ask"
        )
    return given.encode()


class Predictions:
    """Answers `/predict`."""

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
        self._request, self._score, self._log, self._metrics = request, batcher, log, metrics
        self._expected = token
        self._formats, self._body_seconds = formats(schema), limits.body_seconds
        self._most_bytes, self._most = limits.max_rows * ROW_BYTES, limits.max_concurrency
        self._inflight, self._arriving = 0, 0

    async def answer(self, request: Request) -> Response:
        """Score the rows, note the answer; what cannot be scored is refused with the reason."""
        try:
            self._check(request)
            body = await self._body(request)
            rows, scores = await self._scored(body)
        except Refused as refused:
            self._metrics.refused.labels(status=str(refused.status)).inc()
            return JSONResponse(refused.content, refused.status, refused.headers)
        given = request.headers.get("x-request-id", "")
        request_id = given if ID.fullmatch(given) else secrets.token_hex(16)
        told = np.round(scores.astype(np.float64), 7).tolist()
        self._log.add(request_id, rows, told)
        self._metrics.scored(told)
        return Response(to_json({"scores": told}), headers={"x-request-id": request_id}, media_type="application/json")

    async def _scored(self, body: bytes) -> tuple[list[dict[str, Any]], Any]:
        """Return rows and scores. A request counts from here on: one that never arrives shuts out none that does."""
        if self._inflight >= self._most:
            raise Refused(503, "overloaded: try again after a second", header=RETRY)
        self._inflight += 1
        try:
            rows = self._rows(body)
            return rows, await self._score(rows)
        finally:
            self._inflight -= 1

    def _check(self, request: Request) -> None:
        """Refuse what the headers already rule out: another caller, another type of content."""
        headers = request.headers
        if self._expected is not None:
            scheme, _, given = headers.get("authorization", "").encode().partition(b" ")
            # A scheme's case does not count (RFC 9110, 11.1).
            if not (hmac.compare_digest(given.lstrip(b" "), self._expected) and scheme.lower() == b"bearer"):
                told = "authorization: expected a bearer token that this service knows"
                raise Refused(401, told, header=("www-authenticate", "Bearer"), close=True)
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "content-type: expected application/json", close=True)
        if headers.get("content-encoding", "identity").lower() != "identity":
            told = "content-encoding: send the body as it is, not compressed"
            raise Refused(415, told, header=("accept-encoding", "identity"), close=True)

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                async for chunk in request.stream():
                    body += chunk
                    self._arriving += len(chunk)
                    if len(body) > self._most_bytes:
                        told = f"the body is larger than {self._most_bytes:,} bytes: send fewer rows at once"
                        raise Refused(413, told, close=True)
                    if self._arriving > max(ARRIVING_BYTES, self._most_bytes):
                        told = "overloaded by requests that are still arriving: try again after a second"
                        raise Refused(503, told, header=RETRY, close=True)
        except TimeoutError:
            told = f"the body did not arrive within {self._body_seconds:g} seconds"
            raise Refused(408, told, close=True) from None
        except ClientDisconnect:
            raise Refused(400, "the client left before its body had arrived") from None
        finally:
            self._arriving -= len(body)
        return bytes(body)

    def _rows(self, body: bytes) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = self._request.validate_json(body)["rows"]
        except ValidationError as error:
            mistakes = error.errors(include_url=False, include_context=False, include_input=False)
            if mistakes[0]["type"] == "json_invalid":
                raise Refused(400, mistakes[0]["msg"]) from None
            fields = {".".join(map(str, one["loc"])) or "body": self._mistake(one) for one in mistakes[:TOLD]}
            raise Refused(422, "; ".join(f"{place}: {told}" for place, told in fields.items()), fields) from None
        return rows

    def _mistake(self, mistake: ErrorDetails) -> str:
        """Return what was expected in words: a regular expression only if it is short enough to be read."""
        if mistake["type"] == "string_pattern_mismatch":
            if told := self._formats.get(str(mistake["loc"][-1])):
                return told
            if len(mistake["msg"]) > 100:
                return OTHER_FORM
        return mistake["msg"][:WORDS]


class Identified:
    """Says in every answer which model gave it."""

    def __init__(self, app: Any, identity: Identity) -> None:
        self._app = app
        self._headers = [(f"x-model-{name}".encode(), value.encode()) for name, value in identity.labels().items()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on, with the headers added."""

        async def identified(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, receive, identified)


def fill(
    app: Starlette, predictions: Predictions, request: TypeAdapter[Any], identity: Identity, *, guarded: bool
) -> None:
    """Add the API's routes, and the header that names the model; `/docs.json` is what BentoML's page at `/` shows.

    `guarded` says that `/predict` wants a bearer token.
    """
    described = JSONResponse(document(request, identity.labels(), guarded=guarded))
    model = JSONResponse(identity.labels())

    async def describe(_: Request) -> Response:
        return described

    async def identify(_: Request) -> Response:
        return model

    app.add_route("/predict", predictions.answer, methods=["POST"])
    app.add_route("/model", identify, methods=["GET"])
    app.add_route("/openapi.json", describe, methods=["GET"])
    app.add_route("/docs.json", describe, methods=["GET"])
    app.add_middleware(Identified, identity=identity)
