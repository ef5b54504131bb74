"""The champion: the model that main points to. There being none is read from git, never concluded from a failure."""

import hashlib
from dataclasses import dataclass

from ...errors import UserError
from ...paths import DATA_DVC, LOCK, MODEL
from .. import dvc_files, git


@dataclass(frozen=True)
class Champion:
    """A commit, its model's MD5 and its newest partition, which that model was not trained on."""

    commit: str
    md5: str
    newest: str | None


def find(ref: str | None) -> Champion | None:
    """Find the champion at `ref`, or main; None where nothing was ever locked there.

    Raises `UserError` where git or the lock cannot be read, so that a failure is never taken for "none yet".
    """
    if ref is None and git.empty():
        return None
    commit = _commit(ref)
    lock, data = git.read(commit, LOCK), git.read(commit, DATA_DVC)
    if lock is None:
        return None
    partitions = dvc_files.partitions(dvc_files.parse(data, f"{DATA_DVC} at {commit[:12]}")) if data else {}
    name = f"{LOCK} at {commit[:12]}"
    return Champion(commit, dvc_files.model(dvc_files.parse(lock, name), name), max(partitions, default=None))


def fetch(champion: Champion) -> bytes:
    """Fetch the champion's ONNX from DVC's cache or remote; raise `UserError` unless its hash is the locked one."""
    import dvc.api  # 0.4 s, and only where there is a champion

    name = f"the champion's {MODEL} ({champion.md5}, commit {champion.commit[:12]})"
    try:
        model: bytes = dvc.api.read(str(MODEL), rev=champion.commit, mode="rb")
    except Exception as error:  # noqa: BLE001 - whatever a remote raises, the champion is unreadable
        reason = type(error.__cause__ or error).__name__
        raise UserError(
            f"{name} is neither in DVC's cache nor to be had from its remote ({reason}): "
            "make the remote reachable, or `dvc push` the model from where it was trained"
        ) from None
    if hashlib.md5(model, usedforsecurity=False).hexdigest() != champion.md5:
        raise UserError(
            f"{name} came back with another hash: DVC's cache or remote was altered, restore the file there"
        )
    return model


def _commit(ref: str | None) -> str:
    main = git.default_branch()
    for name in (ref,) if ref else (f"origin/{main}", main):
        if commit := git.resolve(name):
            return commit
    if ref:
        raise UserError(f"git knows no commit {ref} here: fetch it, or name another by CHAMPION=<commit>")
    raise UserError(
        f"git knows neither origin/{main} nor {main} here: `git fetch origin {main}`, or name one by CHAMPION=<commit>"
    )
