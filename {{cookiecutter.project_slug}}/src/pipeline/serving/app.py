"""The HTTP side: `/predict`, `/model`, and what describes them. BentoML adds health, readiness and metrics."""

import re
import secrets
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..settings import Serving
from .identity import Identity
from .log import Log
from .metrics import ModelMetrics
from .openapi import document
from .scorer import Batcher

ROW_BYTES = 2048  # what a row may take in JSON, generously
TOLD = 10  # of many mistakes in a request
ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


class Refused(Exception):  # noqa: N818, an answer and no failure
    """A request that is answered with an error; `fields` maps the place of a mistake to what is expected there."""

    def __init__(self, status: int, error: str, fields: dict[str, str] | None = None) -> None:
        self.status, self.content = status, {"error": error} | ({"fields": fields} if fields else {})


class Predictions:
    """Answers `/predict`."""

    def __init__(
        self, request: TypeAdapter[Any], batcher: Batcher, log: Log, metrics: ModelMetrics, limits: Serving
    ) -> None:
        self._request, self._score, self._log, self._metrics = request, batcher, log, metrics
        self._most_bytes, self._most, self._inflight = limits.max_rows * ROW_BYTES, limits.max_concurrency, 0

    async def answer(self, request: Request) -> Response:
        """Score the rows, note the answer; what cannot be scored is refused with the reason."""
        if self._inflight >= self._most:
            return self._refuse(Refused(503, "overloaded: try again after a second"))
        self._inflight += 1
        try:
            rows = self._rows(await self._body(request))
            scores = await self._score(rows)
        except Refused as refused:
            return self._refuse(refused)
        finally:
            self._inflight -= 1
        given = request.headers.get("x-request-id", "")
        request_id = given if ID.fullmatch(given) else secrets.token_hex(16)
        told = np.round(scores.astype(np.float64), 7).tolist()
        self._log.add(request_id, rows, told)
        self._metrics.scored(told)
        return Response(to_json({"scores": told}), headers={"x-request-id": request_id}, media_type="application/json")

    def _refuse(self, refused: Refused) -> Response:
        self._metrics.refused.labels(status=str(refused.status)).inc()
        headers = {"retry-after": "1"} if refused.status == 503 else None
        return JSONResponse(refused.content, refused.status, headers)

    async def _body(self, request: Request) -> bytes:
        if "json" not in request.headers.get("content-type", "json"):
            raise Refused(415, "content-type: expected application/json")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._most_bytes:
                raise Refused(413, f"the body is larger than {self._most_bytes:,} bytes: send fewer rows at once")
        return bytes(body)

    def _rows(self, body: bytes) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = self._request.validate_json(body)["rows"]
        except ValidationError as error:
            mistakes = error.errors(include_url=False, include_context=False, include_input=False)
            if mistakes[0]["type"] == "json_invalid":
                raise Refused(400, mistakes[0]["msg"]) from None
            fields = {".".join(map(str, mistake["loc"])) or "body": mistake["msg"] for mistake in mistakes[:TOLD]}
            raise Refused(422, "; ".join(f"{place}: {told}" for place, told in fields.items()), fields) from None
        return rows


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


def fill(app: Starlette, predictions: Predictions, request: TypeAdapter[Any], identity: Identity) -> None:
    """Add the API's routes, and the header that names the model; `/docs.json` is what BentoML's page at `/` shows."""
    described, model = JSONResponse(document(request, identity.labels())), JSONResponse(identity.labels())

    async def describe(_: Request) -> Response:
        return described

    async def identify(_: Request) -> Response:
        return model

    app.add_route("/predict", predictions.answer, methods=["POST"])
    app.add_route("/model", identify, methods=["GET"])
    app.add_route("/openapi.json", describe, methods=["GET"])
    app.add_route("/docs.json", describe, methods=["GET"])
    app.add_middleware(Identified, identity=identity)
