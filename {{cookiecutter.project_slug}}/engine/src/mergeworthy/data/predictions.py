"""The prediction log as a table: the inputs of each request, the scores, and the model that computed them."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import fsspec
import polars as pl
from pandera.polars import DataFrameSchema
from pydantic import AwareDatetime, ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ..errors import BrokenDataError, UserError
from ..process import Deadline, Patient, SilentError, local, read, shown, within
from ..project import registered
from ..text import say
from .contract import private_columns, requested
from .types import conform

DAMAGED, OTHER_MODEL, OTHER_COLUMNS = "damaged", "of another model", "of other columns"


class Line(TypedDict):
    """One response as the service logs it; its other keys are ignored."""

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)  # type: ignore[misc]
    time: AwareDatetime
    request_id: str
    model: str
    inputs: dict[str, list[Any]]
    score: list[float | list[float]]


LINE = TypeAdapter(Line)


@dataclass(frozen=True)
class LoggedPredictions:
    """The rows that were scored, and the number of lines that were left out, by reason."""

    rows: pl.DataFrame
    left_out: Counter[str]


def logged_columns(schema: DataFrameSchema) -> list[str]:
    """Return the columns that the service logs: those of a request that are not private."""
    return [name for name in requested(schema) if name not in private_columns(schema)]


def read_predictions(url: str, **options: Any) -> pl.DataFrame:
    """Return all predictions in a folder or bucket, of any model; see `read_log`."""
    return read_log(url, None, options).rows


def read_log(
    url: str, model: str | None, options: Mapping[str, Any], schema: DataFrameSchema | None = None
) -> LoggedPredictions:
    """Return the predictions of every segment in a folder or bucket, one row per scored row, oldest first.

    The columns are `time` (UTC), `request_id`, `model` (MD5), the inputs in the contract's types, and `score`. Lines
    that are damaged, of another model than `model`, or of other columns than `schema` has now are left out and counted;
    damaged lines are warned of too. Raises `UserError` if there is no line at all, or if the folder cannot be read.
    """
    schema = schema or registered().schema
    left_out, parts = Counter[str](), list[pl.DataFrame]()
    for path, content in _segments(url, options):
        segment = _Segment(content, model, schema)
        parts.extend(segment.tables)
        left_out += segment.left_out
        if damaged := segment.left_out[DAMAGED]:
            say(f"warning: {shown(path)}: {damaged} damaged lines are skipped", file=sys.stderr)
    if not parts and not left_out:
        raise UserError(f"{shown(url)} holds no prediction: is this where infra.yaml's serving.log writes or ships to?")
    empty = pl.DataFrame(schema=_column_types(schema))
    return LoggedPredictions(pl.concat([empty, *parts]).sort("time", maintain_order=True), left_out)


def _segments(url: str, options: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each segment, by name; raise `UserError` if the store fails or does not answer."""
    who = shown(f"the prediction log {url}")
    try:
        opened, folder = within(Deadline.ANSWER, who, lambda: fsspec.url_to_fs(url, **options))
        files = opened if local(url) else Patient(opened, who)
        for path in sorted(str(path) for path in files.glob(f"{str(folder).rstrip('/')}/*.ndjson")):
            with files.open(path, "rb") as file:
                content = read(file, who)
            yield path, content
    except SilentError:
        raise
    except Exception as error:  # noqa: BLE001, each store raises its own kind
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise UserError(f"{who} cannot be read ({shown(reason)}): see serving.log in infra.yaml") from None


class _Segment:
    """The lines of one file of the log."""

    def __init__(self, content: bytes, model: str | None, schema: DataFrameSchema) -> None:
        self._content, self._model, self._schema = content, model, schema
        self._columns = set(logged_columns(schema))
        self.left_out = Counter[str]()

    @cached_property
    def tables(self) -> list[pl.DataFrame]:
        """Return the rows of the lines that are not left out, as tables."""
        return list(self._tables(list(self._lines())))

    def _lines(self) -> Iterator[Line]:
        for line in self._content.splitlines():
            try:
                response = LINE.validate_json(line)
            except ValidationError:
                self.left_out[DAMAGED] += 1
                continue
            if self._model is not None and response["model"] != self._model:
                self.left_out[OTHER_MODEL] += 1
            elif response["inputs"].keys() != self._columns:
                self.left_out[OTHER_COLUMNS] += 1
            elif {len(values) for values in response["inputs"].values()} != {len(response["score"])}:
                self.left_out[DAMAGED] += 1
            else:
                yield response

    def _tables(self, lines: Sequence[Line]) -> Iterator[pl.DataFrame]:
        """Yield the lines as tables; if a value does not fit, halve them until only its line is left out."""
        if not lines:
            return
        table = self._table(lines)
        if table is not None:
            yield table
        elif len(lines) > 1:
            middle = len(lines) // 2
            yield from self._tables(lines[:middle])
            yield from self._tables(lines[middle:])
        else:
            self.left_out[OTHER_COLUMNS] += 1

    def _table(self, lines: Sequence[Line]) -> pl.DataFrame | None:
        """Return the lines in the contract's types; None if a value does not fit them."""
        rows = [(line, len(line["score"])) for line in lines]
        repeated = {
            name: [line[name] for line, n in rows for _ in range(n)] for name in ("time", "request_id", "model")
        }
        inputs = {name: [v for line in lines for v in line["inputs"][name]] for name in logged_columns(self._schema)}
        scores = [score for line in lines for score in line["score"]]
        try:
            raw = pl.DataFrame(cast("Any", repeated | inputs), infer_schema_length=None)
            table = conform("the prediction log", raw, self._schema, text=True)
        except (BrokenDataError, pl.exceptions.PolarsError, TypeError, OverflowError):
            return None
        table = table.with_columns(pl.col("time").dt.cast_time_unit("us"), pl.Series("score", scores, _score_type()))
        types = _column_types(self._schema)
        return table.select(list(types)) if table.schema.items() >= types.items() else None


def _score_type() -> pl.DataType:
    """Return the type of a row's scores: a number, or an array of several."""
    width = registered().task.width
    return pl.Float64() if width == 1 else pl.Array(pl.Float64, width)


def _column_types(schema: DataFrameSchema) -> dict[str, pl.DataType]:
    fixed = {"time": pl.Datetime("us", "UTC"), "request_id": pl.String(), "model": pl.String()}
    return fixed | {name: schema.columns[name].dtype.type for name in logged_columns(schema)} | {"score": _score_type()}
