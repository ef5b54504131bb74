"""The description of the API, made from the types that it really checks."""

from typing import Any

from pydantic import TypeAdapter

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
