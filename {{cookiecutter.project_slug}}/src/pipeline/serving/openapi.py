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
    413: "The body is too large",
    415: "The body is not said to be JSON",
    422: "A row is not as it must be; `fields` says where",
    503: "Overloaded: try again after a second",
}


def document(request: TypeAdapter[Any], identity: dict[str, str]) -> dict[str, Any]:
    """Give the OpenAPI 3.1 document."""
    schema = request.json_schema(ref_template=REF)
    parts = schema.pop("$defs", {}) | {"Request": schema, "Scores": SCORES, "Error": ERROR}
    model = {"type": "object", "properties": {name: {"type": "string"} for name in identity}}
    predict = {
        "operationId": "predict",
        "summary": "Score rows as known at their own moment",
        "requestBody": {"required": True, "content": _json("Request")},
        "responses": {
            "200": {"description": "The probability of the label for each row", "content": _json("Scores")},
            **{str(code): {"description": told, "content": _json("Error")} for code, told in REFUSALS.items()},
        },
    }
    told = {"description": "Which model answers", "content": {"application/json": {"schema": model}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "model", "version": identity["version"]},
        "paths": {
            "/predict": {"post": predict},
            "/model": {"get": {"operationId": "model", "summary": "The model's identity", "responses": {"200": told}}},
        },
        "components": {"schemas": parts},
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF.format(model=name)}}}
