"""The champion: the commit that main points to. That there is none is read from git, never concluded from a failure."""

from dataclasses import dataclass, field

from ..adapters import dvc_files, git
from ..adapters.dvc_files import Document
from ..adapters.dvc_store import Store
from ..config import Anchor
from ..errors import UserError
from ..paths import DATA_DVC, LOCK, MODEL


class NoModelError(UserError):
    """A dvc.lock that records no model."""


@dataclass(frozen=True)
class Champion:
    """A commit, its model's MD5, its newest partition, which that model was not trained on, its data.dvc and lock."""

    commit: str
    md5: str
    newest: str | None
    data: Document = field(repr=False)
    lock: Document = field(repr=False)

    @property
    def name(self) -> str:
        """Return the commit's short hash."""
        return self.commit[:12]


def find(ref: str | None) -> Champion | None:
    """Return the champion at `ref`, or main; None if nothing was ever locked there.

    Raise `UserError` if git or the lock cannot be read, so that a failure is never taken for "none yet".
    """
    if ref is None and git.empty():
        return None
    return _at(_commit(ref))


def earlier(champion: Champion, settings: Anchor) -> tuple[list[Champion], int]:
    """Return former champions with other models, newest first, and how many commits hold a lock that is unreadable.

    They are the commits on main's first-parent line that changed dvc.lock. Raise `UserError` if that line is cut off
    before there are enough, or `settings.after` is unknown.
    """
    if settings.after and not git.resolve(settings.after):
        raise UserError(f"gates.yaml: anchor.after: git knows no commit {settings.after} here")
    found, seen, unreadable = list[Champion](), {champion.md5}, 0
    for commit in git.history(champion.commit, LOCK):
        if len(found) == settings.champions or (settings.after and git.is_ancestor(commit, settings.after)):
            return found, unreadable
        try:
            former = _at(commit)
        except NoModelError:  # a lock of a part of the stages is no champion
            continue
        except UserError:
            unreadable += 1
            continue
        if former and former.md5 not in seen:
            seen.add(former.md5)
            found.append(former)
    if len(found) < settings.champions and git.is_shallow():
        raise UserError("the history of main is cut off in this shallow clone: run `git fetch --unshallow`")
    return found, unreadable


def fetch(champion: Champion, store: Store) -> bytes:
    """Return the champion's ONNX; raise `UserError` unless DVC has a file with the hash that is locked."""
    return store.read(champion.md5, f"the champion's {MODEL} ({champion.md5}, commit {champion.name})")


def _at(commit: str) -> Champion | None:
    lock, data = git.read(commit, LOCK), git.read(commit, DATA_DVC)
    if lock is None:
        return None
    locked, name = dvc_files.parse(lock, f"{LOCK} at {commit[:12]}"), f"{LOCK} at {commit[:12]}"
    recorded = dvc_files.parse(data, f"{DATA_DVC} at {commit[:12]}") if data else {}
    newest = max(dvc_files.partitions(recorded), default=None)
    try:
        md5 = dvc_files.model(locked, name)
    except UserError as error:
        raise NoModelError(str(error)) from None
    return Champion(commit, md5, newest, recorded, locked)


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
