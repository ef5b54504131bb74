"""What DVC's text files, data.dvc and dvc.lock, say of data, parameters and model: on disk, or in any commit."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError
from ..paths import DATA, LOCK, MODEL

Document = Mapping[str, Any]


def read(path: Path) -> Document:
    """Read a file on disk; raise `UserError` where it is missing or not what DVC writes."""
    try:
        return parse(path.read_text(), str(path))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `make data pipeline`") from None


def parse(text: str, name: str) -> Document:
    """Read the text of such a file; `name` says in an error which one it is."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{name} is not the YAML that DVC writes: restore it from git, or run `make pipeline`")
    return content


def md5(path: Path) -> str:
    """Hash as DVC does; of dvc.lock itself it names the training, in the gate's verdict as in MLflow."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def outs(lock: Document) -> dict[str, str]:
    """Give path → md5 of all that the stages wrote."""
    return {out["path"]: out["md5"] for out in _listed(lock, "outs")}


def model(lock: Document, name: str) -> str:
    """Give the MD5 that a dvc.lock records for the model; raise `UserError` naming `name` if it holds none."""
    return _recorded(lock, "outs", MODEL, name)


def data(lock: Document, name: str) -> str:
    """Give the MD5 of the data that a dvc.lock was made from; raise `UserError` naming `name` if it holds none."""
    return _recorded(lock, "deps", DATA, name)


def partitions(data_dvc: Document) -> dict[str, int]:
    """Give the partitions that a data.dvc names, with their rows."""
    return (data_dvc.get("meta") or {}).get("partitions") or {}


def params(lock: Document) -> dict[str, Any]:
    """Give dotted name → value of each parameter the model was made with, as DVC recorded it when it ran the stages."""
    files = [values for stage in _stages(lock) for values in stage.get("params", {}).values()]
    return {name: value for values in files for name, value in flat(values, ".").items()}


def flat(values: Mapping[str, Any], separator: str) -> dict[str, Any]:
    """Nested mappings as one, their keys joined."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{name}{separator}{below}": leaf for below, leaf in flat(value, separator).items()}
        else:
            found[name] = value
    return found


def _recorded(lock: Document, kind: str, path: Path, name: str) -> str:
    try:
        return next(str(item["md5"]) for item in _listed(lock, kind) if item["path"] == path.as_posix())
    except (AttributeError, KeyError, TypeError, StopIteration):
        raise UserError(f"{name} records no {path}: run `make pipeline` there and commit {LOCK}") from None


def _listed(lock: Document, kind: str) -> Iterator[dict[str, Any]]:
    return (item for stage in _stages(lock) for item in stage.get(kind, []))


def _stages(lock: Document) -> list[dict[str, Any]]:
    return list((lock.get("stages") or {}).values())
