"""The prediction log as a table: what the service was asked, what it answered, and by which model."""

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
    """One answer, as the service writes it; what it says of the model beside `model` is not read."""

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)  # type: ignore[misc]
    time: AwareDatetime
    request_id: str
    model: str
    inputs: dict[str, list[Any]]
    score: list[float]


LINE = TypeAdapter(Line)


@dataclass(frozen=True)
class Noted:
    """The answers of a log, one row for each row that was scored, and how many lines were left out, by reason."""

    rows: pl.DataFrame
    left_out: Counter[str]


def logged(schema: DataFrameSchema) -> list[str]:
    """Return the columns that the service notes: those that a request has, less the private ones."""
    return [name for name in requested(schema) if name not in private_columns(schema)]


def read_predictions(url: str, **options: Any) -> pl.DataFrame:
    """Read all answers in a folder or bucket, of whichever model; see `read_log`."""
    return read_log(url, None, options).rows


def read_log(url: str, model: str | None, options: Mapping[str, Any], schema: DataFrameSchema | None = None) -> Noted:
    """Read every segment in a folder or bucket; return one row per scored row, oldest first.

    The columns are `time` (UTC), `request_id`, `model` (MD5), the inputs in the contract's types, and `score`. Lines
    that are damaged, of another `model` than the one asked for, or of other columns than `schema` has now are left
    out, with a warning and a count: each line stands for itself. Raises `UserError` if there is no line at all, or if
    the place cannot be read.
    """
    schema = schema or registered().schema
    left_out, parts = Counter[str](), list[pl.DataFrame]()
    for path, content in _segments(url, options):
        segment = _Segment(content, model, schema)
        parts.extend(segment.tables)
        left_out += segment.left_out
        if damaged := segment.left_out[DAMAGED]:
            say(f"warning: {shown(path)}: {damaged} torn or damaged lines are skipped", file=sys.stderr)
    if not parts and not left_out:
        raise UserError(f"{shown(url)} holds no prediction: is this where infra.yaml's serving.log writes or ships to?")
    empty = pl.DataFrame(schema=_types(schema))
    return Noted(pl.concat([empty, *parts]).sort("time", maintain_order=True), left_out)


def _segments(url: str, options: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each segment, by name; raise `UserError` if the place refuses or does not answer."""
    who = shown(f"the prediction log {url}")
    try:
        found, folder = within(Deadline.ANSWER, who, lambda: fsspec.url_to_fs(url, **options))
        files = found if local(url) else Patient(found, who)
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
    """The lines of one file."""

    def __init__(self, content: bytes, model: str | None, schema: DataFrameSchema) -> None:
        self._content, self._model, self._schema = content, model, schema
        self._columns = set(logged(schema))
        self.left_out = Counter[str]()

    @cached_property
    def tables(self) -> list[pl.DataFrame]:
        """The rows of the lines that count."""
        return list(self._tables(list(self._lines())))

    def _lines(self) -> Iterator[Line]:
        for line in self._content.splitlines():
            try:
                answer = LINE.validate_json(line)
            except ValidationError:
                self.left_out[DAMAGED] += 1
                continue
            if self._model is not None and answer["model"] != self._model:
                self.left_out[OTHER_MODEL] += 1
            elif answer["inputs"].keys() != self._columns:
                self.left_out[OTHER_COLUMNS] += 1
            elif {len(values) for values in answer["inputs"].values()} != {len(answer["score"])}:
                self.left_out[DAMAGED] += 1
            else:
                yield answer

    def _tables(self, lines: Sequence[Line]) -> Iterator[pl.DataFrame]:
        """Yield the lines as tables; halve where a value does not fit, until only the line that holds it is lost."""
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
        """Return the lines in the contract's types; None if a value has no place in them."""
        rows = [(line, len(line["score"])) for line in lines]
        same = {name: [line[name] for line, n in rows for _ in range(n)] for name in ("time", "request_id", "model")}
        inputs = {name: [v for line in lines for v in line["inputs"][name]] for name in logged(self._schema)}
        scores = [score for line in lines for score in line["score"]]
        try:
            told = pl.DataFrame(cast("Any", same | inputs), infer_schema_length=None)
            table = conform("the prediction log", told, self._schema, text=True)
        except (BrokenDataError, pl.exceptions.PolarsError, TypeError, OverflowError):
            return None
        table = table.with_columns(pl.col("time").dt.cast_time_unit("us"), pl.Series("score", scores, pl.Float64))
        types = _types(self._schema)
        return table.select(list(types)) if table.schema.items() >= types.items() else None


def _types(schema: DataFrameSchema) -> dict[str, pl.DataType]:
    fixed = {"time": pl.Datetime("us", "UTC"), "request_id": pl.String(), "model": pl.String()}
    return fixed | {name: schema.columns[name].dtype.type for name in logged(schema)} | {"score": pl.Float64()}
