"""DVC by its files: data.dvc, dvc.lock and dvc.yaml, and the objects that they name."""

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
from ..paths import DATA, DATA_DVC, LOCK, MODEL
from ..process import Deadline, SilentError, within
from ..process import read as read_patiently

# DOC adapters.dvc_files: What DVC's text files, data.dvc and dvc.lock, say of data, parameters and model: on disk, or
# in any commit.

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


# DOC adapters.dvc_store: What DVC keeps, by its hash: from the cache or else from the remote, and never with another
# content.

DIRECTORY = ".dir"  # ends the hash of a folder, whose object lists its files


class MissingError(UserError):
    """Neither cache nor remote has an object, or the remote does not answer."""


@dataclass(frozen=True)
class Store:
    """The objects of a DVC repository; `repo` is an open `dvc.repo.Repo`."""

    repo: Any

    def find(self, md5: str, name: str) -> bytes | None:
        """Return the content with this MD5, or None if it is not there; raise `UserError` if there is another one."""
        try:
            return self.read(md5, name)
        except MissingError:
            return None

    def read(self, md5: str, name: str) -> bytes:
        """Return the content with this MD5; raise `UserError`, which calls it `name`, if nobody has exactly that."""
        altered, reason = False, "no remote"
        for place in (self._cached, self._remote):
            try:
                content = place(md5)
            except Exception as error:  # noqa: BLE001 - whatever a remote raises, the content cannot be had from there
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

        Raise `UserError` as `read` does, and if the list is not one that DVC writes, or names a file elsewhere.
        """
        fix = "restore data.dvc from git, and what it names in DVC's remote"
        try:
            listed = {str(entry["relpath"]): str(entry["md5"]) for entry in json.loads(self.read(md5, name))}
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{name} is not what DVC writes: {fix}") from None
        for path in listed:
            if path.startswith("/") or ".." in path.split("/"):
                raise UserError(f"{name} names {path!r}, which lies outside of the folder: {fix}")
        return listed

    def _cached(self, md5: str) -> bytes:
        return Path(self.repo.cache.local.oid_to_path(md5)).read_bytes()

    def _remote(self, md5: str) -> bytes:
        remote = self.repo.cloud.get_remote_odb()
        who = "the DVC remote"
        with within(Deadline.ANSWER, who, lambda: remote.fs.open(remote.oid_to_path(md5), "rb")) as file:
            return read_patiently(file, who)


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
