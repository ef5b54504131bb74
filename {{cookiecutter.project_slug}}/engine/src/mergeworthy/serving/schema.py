"""The schema of a request, made from the schema of the main table, and the description of the API in OpenAPI.

A request has the same columns, types and limits as the data, without the columns that are known only after the event
(`known: "after"`). If a check of the table has no counterpart in a request, the service does not start.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pandera.polars import Check, Column, DataFrameSchema
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from ..data.contract import requested
from ..errors import UserError
from ..tasks.base import Task

# ISO 8601 without a time zone, as in the tables. The pattern accepts only dates that exist.
DATE_PATTERN = (
    r"(?:(?:19|20)[0-9]{2}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)"
    r"|(?:0[13578]|1[02])-31)|(?:19|20)(?:0[48]|[2468][048]|[13579][26])-02-29|2000-02-29)"
)
TIME_PATTERN = r"T(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
# The patterns above are too long for a message: a client reads these sentences instead.
EXPECTED_FORMS: dict[Any, str] = {
    pl.Datetime: "expected a moment such as 2026-02-28T12:30:00, without a time zone (no Z, no +00:00), on a day that "
    "exists, in the same local time as the data",
    pl.Date: "expected a day that exists, such as 2026-02-28",
}
# Checks of pandera: the name of the limit in its statistics, and in a pydantic field.
LIMITS = {
    "greater_than_or_equal_to": ("min_value", "ge"),
    "greater_than": ("min_value", "gt"),
    "less_than_or_equal_to": ("max_value", "le"),
    "less_than": ("max_value", "lt"),
}
PREDICT_PATH = "/predict"
REFERENCE = "#/components/schemas/{model}"
ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "fields": {"type": "object"}},
    "required": ["error"],
}
REFUSALS = {
    400: "The body is not JSON",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The content type is not application/json, or the body is compressed",
    422: "A row is invalid; `fields` names the place and what is expected",
    503: "Overloaded: try again after a second",
}
NO_TOKEN = {401: "The bearer token is missing or wrong"}


def request(schema: DataFrameSchema, max_rows: int) -> TypeAdapter[dict[str, list[dict[str, Any]]]]:
    """Return the type of a request: `{"rows": [{column: value}]}` with one to `max_rows` rows."""
    row: Any = _record("Row", {name: _field_type(name, column) for name, column in requested(schema).items()})
    rows = list.__class_getitem__(row)
    return TypeAdapter(_record("Request", {"rows": Annotated[rows, Field(min_length=1, max_length=max_rows)]}))


def columns(schema: DataFrameSchema, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return N valid rows as columns of N values, by name."""
    return {name: [row[name] for row in rows] for name in requested(schema)}


def arrays(schema: DataFrameSchema, columns: Mapping[str, list[Any]]) -> dict[str, NDArray[Any]]:
    """Return columns of N valid values as arrays of shape (N,): moments as datetime64[us], missing numbers as NaN."""
    return to_arrays(numpy_types(schema), columns)


def to_arrays(types: Mapping[str, "np.dtype[Any]"], columns: Mapping[str, list[Any]]) -> dict[str, NDArray[Any]]:
    """Return the columns that `types` names as arrays of shape (N,)."""
    return {name: np.array(columns[name], dtype) for name, dtype in types.items()}


def numpy_types(schema: DataFrameSchema) -> "dict[str, np.dtype[Any]]":
    """Return the type of each column of a request."""
    return {
        name: np.dtype(_numpy_type(column.dtype.type, nullable=column.nullable))
        for name, column in requested(schema).items()
    }


def expected_forms(schema: DataFrameSchema) -> dict[str, str]:
    """Return, for each column whose pattern is too long to be read, the sentence that describes its form."""
    types = {name: column.dtype.type for name, column in requested(schema).items()}
    return {
        name: sentence for name, dtype in types.items() for form, sentence in EXPECTED_FORMS.items() if dtype == form
    }


def document(request: TypeAdapter[Any], task: Task, identity: dict[str, str], *, needs_token: bool) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document; `needs_token` means that `/predict` requires a bearer token."""
    schema = request.json_schema(ref_template=REFERENCE)
    schemas = schema.pop("$defs", {}) | {"Request": schema, "Scores": task.answer_schema(), "Error": ERROR}
    model = {"type": "object", "properties": {name: {"type": "string"} for name in identity}}
    refusals = REFUSALS | (NO_TOKEN if needs_token else {})
    predict: dict[str, Any] = {
        "operationId": "predict",
        "summary": "Score rows, each as of its own moment",
        "requestBody": {"required": True, "content": _json_content("Request")},
        "responses": {
            "200": {"description": task.answer_words, "content": _json_content("Scores")},
            **{
                str(status): {"description": reason, "content": _json_content("Error")}
                for status, reason in refusals.items()
            },
        },
    }
    security = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if needs_token else {}
    if needs_token:
        predict["security"] = [{"token": []}]
    answer = {"description": "Which model answers", "content": {"application/json": {"schema": model}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "model", "version": identity["version"]},
        "paths": {
            PREDICT_PATH: {"post": predict},
            "/model": {
                "get": {"operationId": "model", "summary": "The model's identity", "responses": {"200": answer}}
            },
        },
        "components": {"schemas": schemas} | security,
    }


def _record(name: str, fields: dict[str, Any]) -> Any:
    record: Any = cast("Any", TypedDict)(name, fields)
    record.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return record


def _field_type(name: str, column: Column) -> Any:
    dtype, limits = column.dtype.type, dict[str, Any]()
    for check in column.checks:
        limits |= dict(_limits(name, check))
    python_type: Any = str
    if dtype in (pl.Datetime, pl.Date):
        limits["pattern"] = f"^{DATE_PATTERN}{TIME_PATTERN if dtype == pl.Datetime else ''}$"
    elif dtype.is_integer():
        python_type, width = int, np.iinfo(str(dtype).lower())
        limits = {"ge": int(width.min), "le": int(width.max)} | limits
    elif dtype.is_float() or dtype == pl.Boolean:
        python_type = float if dtype.is_float() else bool
    elif dtype != pl.String:
        raise UserError(f"ml/schema.py: column {name} has type {dtype}, which a request cannot hold")
    if "isin" in limits:
        python_type, limits = Literal[tuple(limits["isin"])], {}
    field: Any = Annotated[python_type, Field(**limits)]
    if python_type is int:
        field = Annotated[field, BeforeValidator(_whole)]
    return field | None if column.nullable else field


def _whole(value: Any) -> Any:
    """Return 3.0 as the integer 3: JSON has only one type of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _limits(name: str, check: Check) -> Iterator[tuple[str, Any]]:
    statistics = check.statistics or {}
    if check.name == "in_range":
        yield ("ge" if statistics["include_min"] else "gt"), statistics["min_value"]
        yield ("le" if statistics["include_max"] else "lt"), statistics["max_value"]
    elif check.name == "isin":
        yield "isin", statistics["allowed_values"]
    elif check.name == "str_matches":
        yield "pattern", getattr(statistics["pattern"], "pattern", statistics["pattern"])
    elif check.name in LIMITS:
        key, limit = LIMITS[check.name]
        yield limit, statistics[key]
    else:
        raise UserError(f"ml/schema.py: column {name}: the check {check.name} has no counterpart in a request")


def _numpy_type(dtype: pl.DataType, *, nullable: bool) -> str:
    if isinstance(dtype, pl.Datetime | pl.Date):
        return "datetime64[us]"
    if dtype == pl.String:
        return "object"
    return "float64" if nullable or dtype.is_float() else str(dtype).lower().replace("boolean", "bool")


def _json_content(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REFERENCE.format(model=name)}}}
