"""The prediction log as a table: what the service was asked, what it answered, and by which model."""

import json
import sys
from typing import Any

import fsspec
import polars as pl

from ...errors import UserError
from ...ml.schema import TABLES
from .casting import conform


def read_predictions(url: str, **options: Any) -> pl.DataFrame:
    """Read every segment in a folder or bucket; one row per scored row, in the contract's types, oldest first.

    Beside the inputs (less the private ones) and `score` there are `time`, `request_id` and the model's identity. A
    line that a killed service left unfinished is skipped with a warning; raise `UserError` where another is damaged.
    """
    files, folder = fsspec.url_to_fs(url, **options)
    paths = sorted(str(path) for path in files.glob(f"{str(folder).rstrip('/')}/*.ndjson"))
    answers = [answer for path in paths for answer in _answers(path, files.cat_file(path))]
    if not answers:
        raise UserError(f"{url} holds no prediction: is this where infra.yaml's serving.log writes or ships to?")
    lists = [{**answer.pop("inputs"), "score": answer.pop("score"), **answer} for answer in answers]
    columns = [name for name, value in lists[0].items() if isinstance(value, list)]
    rows = pl.DataFrame(lists, infer_schema_length=None).explode(columns)
    rows = rows.with_columns(pl.col("time").str.to_datetime(time_unit="us", time_zone="UTC"))
    return conform(url, rows, next(iter(TABLES.values())), text=True).sort("time", maintain_order=True)


def _answers(path: str, content: bytes) -> list[dict[str, Any]]:
    *lines, torn = content.split(b"\n")
    if torn:
        print(f"warning: {path}: the last line is torn ({len(torn)} bytes) and skipped", file=sys.stderr)
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged, and not only at its end: {error}") from None
