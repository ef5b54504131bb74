"""What DVC's own files, which git keeps, say of data and model."""

from typing import Any

import yaml

from ...errors import UserError
from ...paths import DATA, LOCK, MODEL


def parse(text: str, name: str) -> dict[str, Any]:
    """Read a data.dvc or dvc.lock; `name` says in an error which one it is."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict):
        raise UserError(f"{name} is not the YAML that DVC writes: restore it from git, or run `make pipeline`")
    return value


def model(lock: dict[str, Any], name: str) -> str:
    """Give the MD5 that a dvc.lock records for the model; raise `UserError` if it holds none."""
    return _md5(lock, "outs", str(MODEL), name)


def data(lock: dict[str, Any], name: str) -> str:
    """Give the MD5 of the data that a dvc.lock was made from; raise `UserError` if it holds none."""
    return _md5(lock, "deps", str(DATA), name)


def partitions(data_dvc: dict[str, Any]) -> dict[str, int]:
    """Give the partitions that a data.dvc names, with their rows."""
    return (data_dvc.get("meta") or {}).get("partitions") or {}


def _md5(lock: dict[str, Any], kind: str, path: str, name: str) -> str:
    try:
        items = [item for stage in lock["stages"].values() for item in stage.get(kind, [])]
        return next(str(item["md5"]) for item in items if item["path"] == path)
    except (AttributeError, KeyError, TypeError, StopIteration):
        raise UserError(f"{name} records no {path}: run `make pipeline` there and commit {LOCK}") from None
