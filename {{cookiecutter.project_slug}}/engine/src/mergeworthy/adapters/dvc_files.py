"""What DVC's text files, data.dvc and dvc.lock, say of data, parameters and model: on disk, or in any commit."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from .. import files
from ..errors import UserError
from ..files import md5
from ..paths import DATA, DATA_DVC, LOCK, MODEL

__all__ = ["data", "flat", "md5", "model", "outs", "params", "parse", "partitions", "pipeline", "read"]

DVC_YAML = Path("dvc.yaml")
Document = Mapping[str, Any]
FIX = {
    LOCK.name: f"restore it with `git checkout {LOCK}`, or delete it and run `make pipeline`",
    DATA_DVC.name: f"restore it with `git checkout {DATA_DVC}`, or delete it and run `make data UNTIL=…`",
}


class _Item(BaseModel):
    path: str
    md5: str | None = None


class _Stage(BaseModel):
    deps: list[_Item] = []
    outs: list[_Item] = []
    params: dict[str, dict[str, Any] | None] = {}


class _Lock(BaseModel):
    stages: dict[str, _Stage] | None = None


class _Meta(BaseModel):
    partitions: dict[str, int] | None = None
    md5: dict[str, str] | None = None


class _Data(BaseModel):
    outs: Annotated[list[_Item], Field(min_length=1)]
    meta: _Meta | None = None


SHAPES: dict[str, type[BaseModel]] = {LOCK.name: _Lock, DATA_DVC.name: _Data}


def read(path: Path) -> Document:
    """Return the content of a file on disk; raise `UserError` if it is missing or not what DVC writes."""
    if not os.path.lexists(path):
        raise UserError(f"{path} is missing: run `make data pipeline`")
    return parse(files.read_text(path, FIX.get(path.name, "restore it from git")), str(path))


def parse(text: str, name: str) -> Document:
    """Return the content of such a file's text; `name` is what an error calls it, e.g. `dvc.lock at 0a1b2c3d4e5f`."""
    file = name.split(" at ")[0]
    fix = FIX.get(file, "restore it from git") if file == name else f"restore {file} there"
    try:
        content = files.parse_yaml(text, name)
    except files.ConflictError as error:
        verb = "`make data`" if file == DATA_DVC.name else "`make pipeline`; in a merge `make resolve` does both"
        raise files.ConflictError(f"{error}, then {verb}") from None
    except UserError as error:
        cause = str(error).removeprefix(name).lstrip(", :")
        raise UserError(f"{name} is not the YAML that DVC writes ({cause}): {fix}") from None
    if not isinstance(content, dict):
        raise UserError(f"{name} is not the YAML that DVC writes: {fix}")
    if shape := SHAPES.get(file):
        try:
            shape.model_validate(content)
        except ValidationError as error:
            raise UserError(f"{name} is not what DVC writes ({files.explain(error, content)}): {fix}") from None
    return content


def pipeline() -> dict[str, dict[str, Any]]:
    """Return the stages of dvc.yaml, in its order; raise `UserError` if it does not say them."""
    content = files.read_yaml(DVC_YAML)
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise UserError(f"{DVC_YAML}: stages: a mapping of stages is expected: `git checkout {DVC_YAML}`")
    return stages


def outs(lock: Document) -> dict[str, str]:
    """Return path → md5 of all that the stages wrote."""
    return {out["path"]: out["md5"] for out in _listed(lock, "outs") if out.get("md5")}


def model(lock: Document, name: str) -> str:
    """Return the MD5 that a dvc.lock records for the model; raise `UserError` naming `name` if it holds none."""
    return _recorded(lock, "outs", MODEL, name)


def data(lock: Document, name: str) -> str:
    """Return the MD5 of the data that a dvc.lock was made from; raise `UserError` naming `name` if it holds none."""
    return _recorded(lock, "deps", DATA, name)


def stage(lock: Document, name: str) -> Document:
    """Return what a dvc.lock records of a stage; empty if it records none of that name."""
    return (lock.get("stages") or {}).get(name) or {}


def is_of_one_run(lock: Document, data_md5: str) -> bool:
    """Return whether every stage read what the stages before it wrote, and the data with this MD5."""
    written = outs(lock) | {DATA.as_posix(): data_md5}
    return all(written.get(dep["path"], dep["md5"]) == dep["md5"] for dep in _listed(lock, "deps"))


def partitions(data_dvc: Document) -> dict[str, int]:
    """Return the partitions that a data.dvc names, with their rows."""
    return (data_dvc.get("meta") or {}).get("partitions") or {}


def params(lock: Document) -> dict[str, Any]:
    """Return dotted name → value of each parameter the model was made with, as DVC recorded it when it ran the stages.

    Of pyproject.toml, which pins libraries, DVC records versions: they are no parameters.
    """
    recorded = [stage.get("params") or {} for stage in _stages(lock)]
    settings = [values for each in recorded for file, values in each.items() if values and not file.endswith(".toml")]
    return {name: value for values in settings for name, value in flat(values, ".").items()}


def flat(values: Mapping[str, Any], separator: str) -> dict[str, Any]:
    """Return nested mappings as one, their keys joined."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{name}{separator}{below}": leaf for below, leaf in flat(value, separator).items()}
        else:
            found[name] = value
    return found


def _recorded(lock: Document, kind: str, path: Path, name: str) -> str:
    for item in _listed(lock, kind):
        if item["path"] == path.as_posix() and item.get("md5"):
            return str(item["md5"])
    raise UserError(f"{name} records no {path}: run `make pipeline` there and commit {LOCK}")


def _listed(lock: Document, kind: str) -> Iterator[dict[str, Any]]:
    return (item for stage in _stages(lock) for item in stage.get(kind) or [])


def _stages(lock: Document) -> list[dict[str, Any]]:
    return list((lock.get("stages") or {}).values())
