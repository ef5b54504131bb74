"""What a request may hold, made from the contract of the main table, and its description in OpenAPI."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pandera.polars import Check, Column, DataFrameSchema
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from ..data.contract import requested
from ..errors import UserError

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
