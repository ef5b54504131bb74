"""Whether data, model and figures belong together: what is judged must be what was made, and what ships."""

import hashlib
import math
from typing import Any

from ... import files
from ...errors import UserError
from ...paths import CONTRACT, DATA_DVC, LOCK, METRICS, MODEL
from .. import dvc_files
from .verdict import Check

SAME = 1e-6  # scores are float32: another processor may differ in the last digits
MEND = "run `make pipeline`"


def contract(holdout: str) -> Check:
    """Check that data.dvc's partitions passed validation, the lock was made from them, the newest is the holdout."""
    data = dvc_files.read(DATA_DVC)
    checked = files.read_mapping(CONTRACT, MEND).get("partitions")
    if not isinstance(checked, dict):
        raise UserError(f"{CONTRACT}: partitions: a mapping is expected, not {checked!r}: {MEND}")
    named = set(dvc_files.partitions(data))
    if missing := sorted(named - checked.keys()):
        raise UserError(f"{CONTRACT} does not cover partition {', '.join(missing)} of {DATA_DVC}: {MEND}")
    if holdout != max(named, default=None):
        raise UserError(f"features/{holdout}.parquet is not the newest partition of {DATA_DVC}: {MEND}")
    if dvc_files.data(dvc_files.read(LOCK), str(LOCK)) != data["outs"][0]["md5"]:
        raise UserError(f"{LOCK} was made from other data than {DATA_DVC} names: {MEND}")
    return Check(name="data contract", result="pass", why=f"All {len(named)} partitions passed validation.")


def evaluation(model: bytes, measured: dict[str, Any]) -> Check:
    """Check that the model is the locked one, and scored again gives the figures that were reported."""
    if hashlib.md5(model, usedforsecurity=False).hexdigest() != dvc_files.model(dvc_files.read(LOCK), str(LOCK)):
        raise UserError(f"{MODEL} is not the file that {LOCK} records: {MEND}")
    reported = dvc_files.flat(files.read_mapping(METRICS, MEND), ".")
    for name, value in dvc_files.flat(measured, ".").items():
        if name not in reported:
            raise UserError(f"{METRICS} lacks {name}: {MEND}")
        if not _same(value, reported[name]):
            raise UserError(f"{METRICS} says {name} is {reported[name]}, the model itself gives {value}: {MEND}")
    return Check(name="evaluation", result="pass", why="The shipped model, scored again, gives the reported figures.")


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=SAME, abs_tol=SAME)
    return one == other
