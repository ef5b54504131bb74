"""The API: what a request may hold, the routes, and their description in OpenAPI."""

import asyncio
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pandera.polars import Check, Column, DataFrameSchema
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from ..config.infra import Serving
from ..data.contract import requested
from ..errors import UserError
from .identity import Identity, ModelMetrics
from .log import Log
from .scorer import Batcher

# DOC serving.contract: What a request may hold, made from the schema of the main table: the same columns, types and
# limits as the data. Left out is what only the event tells (`known: "after"`). A check that has no counterpart here
# stops the service.

# ISO 8601 without a zone: a moment as the tables mean it. A string of this form is always a date that exists.
DAY = (
    r"(?:(?:19|20)[0-9]{2}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)"
    r"|(?:0[13578]|1[02])-31)|(?:19|20)(?:0[48]|[2468][048]|[13579][26])-02-29|2000-02-29)"
)
CLOCK = r"T(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
# What is said of a string that has another form: nobody reads the expressions above.
FORMS: dict[Any, str] = {
    pl.Datetime: "expected a moment such as 2026-02-28T12:30:00, without a time zone (no Z, no +00:00), on a day that "
    "exists, in the clock that the data is in",
    pl.Date: "expected a day that exists, such as 2026-02-28",
}
LIMITS = {
    "greater_than_or_equal_to": ("min_value", "ge"),
    "greater_than": ("min_value", "gt"),
    "less_than_or_equal_to": ("max_value", "le"),
    "less_than": ("max_value", "lt"),
}


def formats(schema: DataFrameSchema) -> dict[str, str]:
    """Return the sentence that says what form is expected, for each column whose pattern cannot be read."""
    kinds = {name: column.dtype.type for name, column in requested(schema).items()}
    return {name: told for name, kind in kinds.items() for form, told in FORMS.items() if kind == form}


def request(schema: DataFrameSchema, max_rows: int) -> TypeAdapter[dict[str, list[dict[str, Any]]]]:
    """Give the type of a request: `{"rows": [{column: value}]}`, one to `max_rows` rows."""
    row: Any = _record("Row", {name: _type(name, column) for name, column in requested(schema).items()})
    rows = list.__class_getitem__(row)
    return TypeAdapter(_record("Request", {"rows": Annotated[rows, Field(min_length=1, max_length=max_rows)]}))


def arrays(schema: DataFrameSchema, rows: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """Turn N accepted rows into columns of shape (N,): moments as datetime64[us], missing numbers as NaN."""
    return {
        name: np.array([row[name] for row in rows], _numpy(column.dtype.type, nullable=column.nullable))
        for name, column in requested(schema).items()
    }


def _record(name: str, fields: dict[str, Any]) -> Any:
    made: Any = cast("Any", TypedDict)(name, fields)
    made.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return made


def _type(name: str, column: Column) -> Any:
    dtype, limits = column.dtype.type, dict[str, Any]()
    for check in column.checks:
        limits |= dict(_limits(name, check))
    kind: Any = str
    if dtype in (pl.Datetime, pl.Date):
        limits["pattern"] = f"^{DAY}{CLOCK if dtype == pl.Datetime else ''}$"
    elif dtype.is_integer():
        kind, width = int, np.iinfo(str(dtype).lower())
        limits = {"ge": int(width.min), "le": int(width.max)} | limits
    elif dtype.is_float() or dtype == pl.Boolean:
        kind = float if dtype.is_float() else bool
    elif dtype != pl.String:
        raise UserError(f"ml/schema.py: column {name} has type {dtype}, which a request cannot hold")
    if "isin" in limits:
        kind, limits = Literal[tuple(limits["isin"])], {}
    made: Any = Annotated[kind, Field(**limits)]
    if kind is int:
        made = Annotated[made, BeforeValidator(_whole)]
    return made | None if column.nullable else made


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 3.0 is the integer 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _limits(name: str, check: Check) -> Iterator[tuple[str, Any]]:
    told = check.statistics or {}
    if check.name == "in_range":
        yield ("ge" if told["include_min"] else "gt"), told["min_value"]
        yield ("le" if told["include_max"] else "lt"), told["max_value"]
    elif check.name == "isin":
        yield "isin", told["allowed_values"]
    elif check.name == "str_matches":
        yield "pattern", getattr(told["pattern"], "pattern", told["pattern"])
    elif check.name in LIMITS:
        key, limit = LIMITS[check.name]
        yield limit, told[key]
    else:
        raise UserError(f"ml/schema.py: column {name}: the check {check.name} has no counterpart in a request")


def _numpy(dtype: pl.DataType, *, nullable: bool) -> str:
    if isinstance(dtype, pl.Datetime | pl.Date):
        return "datetime64[us]"
    if dtype == pl.String:
        return "object"
    return "float64" if nullable or dtype.is_float() else str(dtype).lower().replace("boolean", "bool")


# DOC serving.openapi: The description of the API, made from the types that it really checks.

REF = "#/components/schemas/{model}"
SCORES = {
    "type": "object",
    "properties": {"scores": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}}},
    "required": ["scores"],
    "additionalProperties": False,
}
ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "fields": {"type": "object"}},
    "required": ["error"],
}
REFUSALS = {
    400: "The body is not JSON",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The body is not said to be JSON, or is compressed",
    422: "A row is not as it must be; `fields` says where",
    503: "Overloaded: try again after a second",
}


def document(request: TypeAdapter[Any], identity: dict[str, str], *, guarded: bool) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document; `guarded` says that `/predict` wants a bearer token."""
    schema = request.json_schema(ref_template=REF)
    parts = schema.pop("$defs", {}) | {"Request": schema, "Scores": SCORES, "Error": ERROR}
    model = {"type": "object", "properties": {name: {"type": "string"} for name in identity}}
    refusals = REFUSALS | ({401: "The bearer token is missing or another"} if guarded else {})
    predict: dict[str, Any] = {
        "operationId": "predict",
        "summary": "Score rows as known at their own moment",
        "requestBody": {"required": True, "content": _json("Request")},
        "responses": {
            "200": {"description": "The probability of the label for each row", "content": _json("Scores")},
            **{str(code): {"description": told, "content": _json("Error")} for code, told in refusals.items()},
        },
    }
    schemes = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if guarded else {}
    if guarded:
        predict["security"] = [{"token": []}]
    told = {"description": "Which model answers", "content": {"application/json": {"schema": model}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "model", "version": identity["version"]},
        "paths": {
            "/predict": {"post": predict},
            "/model": {"get": {"operationId": "model", "summary": "The model's identity", "responses": {"200": told}}},
        },
        "components": {"schemas": parts} | schemes,
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF.format(model=name)}}}


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
