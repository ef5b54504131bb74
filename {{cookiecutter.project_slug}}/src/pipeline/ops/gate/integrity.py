"""Whether data, model and figures belong together: what is judged must be what was made, and what ships."""

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...paths import CONTRACT, DATA_DVC, LOCK, METRICS, MODEL
from . import record
from .verdict import Check

SAME = 1e-6  # scores are float32: another processor may differ in the last digits
MEND = "run `make pipeline`"


def contract(holdout: str) -> Check:
    """Check that data.dvc's partitions passed validation, the lock was made from them, the newest is the holdout."""
    data = record.parse(_text(DATA_DVC), str(DATA_DVC))
    named, checked = set(record.partitions(data)), set(_json(CONTRACT).get("partitions", []))
    if missing := sorted(named - checked):
        raise UserError(f"{CONTRACT} does not cover partition {', '.join(missing)} of {DATA_DVC}: {MEND}")
    if holdout != max(named, default=None):
        raise UserError(f"features/{holdout}.parquet is not the newest partition of {DATA_DVC}: {MEND}")
    if record.data(_lock(), str(LOCK)) != data["outs"][0]["md5"]:
        raise UserError(f"{LOCK} was made from other data than {DATA_DVC} names: {MEND}")
    return Check(name="data contract", result="pass", why=f"All {len(named)} partitions passed validation.")


def evaluation(model: bytes, measured: dict[str, Any]) -> Check:
    """Check that the model is the locked one, and scored again gives the figures that were reported."""
    if hashlib.md5(model, usedforsecurity=False).hexdigest() != record.model(_lock(), str(LOCK)):
        raise UserError(f"{MODEL} is not the file that {LOCK} records: {MEND}")
    reported = dict(_flat(_json(METRICS)))
    for name, value in _flat(measured):
        if name not in reported:
            raise UserError(f"{METRICS} lacks {name}: {MEND}")
        if not _same(value, reported[name]):
            raise UserError(f"{METRICS} says {name} is {reported[name]}, the model itself gives {value}: {MEND}")
    return Check(name="evaluation", result="pass", why="The shipped model, scored again, gives the reported figures.")


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=SAME, abs_tol=SAME)
    return one == other


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _lock() -> dict[str, Any]:
    return record.parse(_text(LOCK), str(LOCK))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(path))
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise UserError(f"{path} is not the JSON object that its stage writes: {MEND}")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {MEND}") from None
