"""What DVC keeps, by its hash: from the cache or else from the remote, and never with another content."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..process import Deadline, SilentError, read, within

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
            return read(file, who)


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
