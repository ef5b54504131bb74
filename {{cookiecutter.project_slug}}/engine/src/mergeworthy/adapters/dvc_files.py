"""DVC's files data.dvc, dvc.lock and dvc.yaml, on disk or in a commit, and the objects that they record by hash.

An object comes from DVC's cache or else from the remote, and its hash is checked.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from .. import files
from ..errors import UserError
from ..paths import DATA, DATA_DVC, DVC_YAML, LOCK, MODEL
from ..process import Deadline, SilentError, within
from ..process import read as read_in_time

Document = Mapping[str, Any]
DIRECTORY = ".dir"  # suffix of the hash of a folder, whose object lists its files
HOW_TO_FIX = {
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
    return parse(files.read_text(path, HOW_TO_FIX.get(path.name, "restore it from git")), str(path))


def parse(text: str, name: str) -> Document:
    """Return the content of the text of a file of DVC's; errors call it `name`, e.g. `dvc.lock at 0a1b2c3d4e5f`."""
    file = name.split(" at ")[0]
    fix = HOW_TO_FIX.get(file, "restore it from git") if file == name else f"restore {file} there"
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
    """Return the stages of dvc.yaml, in its order; raise `UserError` if it holds none."""
    content = files.read_yaml(DVC_YAML)
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise UserError(f"{DVC_YAML}: stages: a mapping of stages is expected: `git checkout {DVC_YAML}`")
    return stages


def outs(lock: Document) -> dict[str, str]:
    """Return path → MD5 of all outputs of the stages."""
    return {out["path"]: out["md5"] for out in _items(lock, "outs") if out.get("md5")}


def model(lock: Document, name: str) -> str:
    """Return the MD5 that a dvc.lock records for the model; raise `UserError` naming `name` if it records none."""
    return _recorded(lock, "outs", MODEL, name)


def data(lock: Document, name: str) -> str:
    """Return the MD5 of the data that a dvc.lock was made from; raise `UserError` naming `name` if it records none."""
    return _recorded(lock, "deps", DATA, name)


def stage(lock: Document, name: str) -> Document:
    """Return the entry of a stage in a dvc.lock; empty if there is none of that name."""
    return (lock.get("stages") or {}).get(name) or {}


def is_of_one_run(lock: Document, data_md5: str) -> bool:
    """Return whether every stage read the outputs of the stages before it, and the data with this MD5."""
    written = outs(lock) | {DATA.as_posix(): data_md5}
    return all(written.get(dep["path"], dep["md5"]) == dep["md5"] for dep in _items(lock, "deps"))


def partitions(data_dvc: Document) -> dict[str, int]:
    """Return partition → number of rows, as a data.dvc records them."""
    return (data_dvc.get("meta") or {}).get("partitions") or {}


def params(lock: Document) -> dict[str, Any]:
    """Return dotted name → value of each parameter that DVC recorded when it ran the stages.

    The library versions that DVC records from pyproject.toml are no parameters.
    """
    recorded = [stage.get("params") or {} for stage in _stages(lock)]
    files_values = [v for each in recorded for file, v in each.items() if v and not file.endswith(".toml")]
    return {name: value for values in files_values for name, value in flat(values, ".").items()}


def flat(values: Mapping[str, Any], separator: str) -> dict[str, Any]:
    """Return nested mappings as one mapping with joined keys."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= {f"{name}{separator}{below}": leaf for below, leaf in flat(value, separator).items()}
        else:
            result[name] = value
    return result


def _recorded(lock: Document, kind: str, path: Path, name: str) -> str:
    for item in _items(lock, kind):
        if item["path"] == path.as_posix() and item.get("md5"):
            return str(item["md5"])
    raise UserError(f"{name} records no {path}: run `make pipeline` there and commit {LOCK}")


def _items(lock: Document, kind: str) -> Iterator[dict[str, Any]]:
    return (item for stage in _stages(lock) for item in stage.get(kind) or [])


def _stages(lock: Document) -> list[dict[str, Any]]:
    return list((lock.get("stages") or {}).values())


class MissingError(UserError):
    """Neither cache nor remote has an object, or the remote does not answer."""


@dataclass(frozen=True)
class Store:
    """The objects of a DVC repository; `repo` is an open `dvc.repo.Repo`."""

    repo: Any

    def find(self, md5: str, name: str) -> bytes | None:
        """Return the content with this MD5; None if it is nowhere. Raise `UserError` if it was altered."""
        try:
            return self.read(md5, name)
        except MissingError:
            return None

    def read(self, md5: str, name: str) -> bytes:
        """Return the content with this MD5; raise `UserError`, which calls it `name`, if neither place has it."""
        altered = False
        reason = "no remote"
        for place in (self._cached, self._remote):
            try:
                content = place(md5)
            except Exception as error:  # noqa: BLE001 - whatever a remote raises, it does not give the content
                reason = str(error) if isinstance(error, SilentError) else type(error.__cause__ or error).__name__
                continue
            if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5.removesuffix(DIRECTORY):
                return content
            altered = True
        if altered:
            raise UserError(f"{name} came back with another hash: DVC's cache or remote was altered, restore it there")
        raise MissingError(
            f"{name} is neither in DVC's cache nor to be had from its remote ({reason}): "
            "make the remote reachable, or run `dvc push` where it was made"
        )

    def files(self, md5: str, name: str) -> dict[str, str]:
        """Return relative path → MD5 of the files of a folder that DVC tracks.

        Raise `UserError` as `read` does, and if DVC did not write the list or the list names a file outside the folder.
        """
        fix = "restore data.dvc from git, and what it names in DVC's remote"
        try:
            md5_by_path = {str(entry["relpath"]): str(entry["md5"]) for entry in json.loads(self.read(md5, name))}
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{name} is not what DVC writes: {fix}") from None
        for path in md5_by_path:
            if path.startswith("/") or ".." in path.split("/"):
                raise UserError(f"{name} names {path!r}, which lies outside of the folder: {fix}")
        return md5_by_path

    def _cached(self, md5: str) -> bytes:
        return Path(self.repo.cache.local.oid_to_path(md5)).read_bytes()

    def _remote(self, md5: str) -> bytes:
        remote = self.repo.cloud.get_remote_odb()
        server = "the DVC remote"
        with within(Deadline.ANSWER, server, lambda: remote.fs.open(remote.oid_to_path(md5), "rb")) as file:
            return read_in_time(file, server)


@contextmanager
def opened() -> Iterator[Store]:
    """Open the store of the DVC repository in this folder; raise `UserError` if there is none."""
    from dvc.exceptions import DvcException  # takes 0.4 s, so only when a store is needed
    from dvc.repo import Repo

    try:
        repo = Repo()
    except DvcException as error:
        raise UserError(f"DVC cannot open this folder ({error}): run this in the project's folder") from None
    with repo:
        yield Store(repo)
