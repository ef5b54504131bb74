"""data/ made what data.dvc records, as far as DVC's cache and remote can."""

import json
import shutil

from ..adapters.dvc_cli import DvcError, dvc
from ..errors import UserError
from ..paths import DATA, DATA_DVC, left_behind, partitions
from ..text import say
from .pointer import Pointer, folder_md5

ABSENT = "the DVC remote does not hold what data.dvc records"


def restore(recorded: Pointer) -> list[str]:
    """Give the recorded partitions that DVC could not bring back, and that the source must deliver again.

    Raises `UserError` where data/ holds what no one recorded: it is never overwritten or taken in unseen.
    """
    uncached = False
    if recorded.names and not _is_true(recorded) and (reason := _from_remote(recorded)):
        uncached = True
        say(f"{reason}: reading the source")
        for name in sorted(set(partitions()) & set(recorded.names)):
            if folder_md5(DATA / name) != recorded.md5.get(name):
                raise UserError(f"data/{name} is not what {DATA_DVC} records: delete that folder, run this again")
    if unknown := sorted(_entries() - set(recorded.names)):
        raise UserError(
            f"data/{unknown[0]} is not recorded in {DATA_DVC}: delete that folder, "
            f"`make data UNTIL={unknown[0]}` then fetches, validates and records it"
        )
    missing = sorted(set(recorded.names) - set(partitions()))
    if uncached and not missing:  # somebody copied data/ here: DVC keeps it from now on, so that it can be pushed
        dvc("commit", "--force", str(DATA_DVC))
    return missing


def _is_true(recorded: Pointer) -> bool:
    return partitions() == recorded.names and json.loads(dvc("status", "--json", str(DATA_DVC))) == {}


def _from_remote(recorded: Pointer) -> str | None:
    """Pull and check out; give the reason where that cannot be done, with data/ untouched."""
    try:
        if not _entries():
            return _pull()
        # Fetched first: a checkout from an incomplete cache would remove what it cannot replace.
        dvc("fetch", str(DATA_DVC))
        if json.loads(dvc("data", "status", "--json")).get("not_in_cache"):
            return ABSENT
        dvc("checkout", str(DATA_DVC))
    except DvcError as error:
        if "unsaved" in str(error):
            raise UserError(_unknown(recorded)) from None
        return str(error)
    return None


def _unknown(recorded: Pointer) -> str:
    """Return what in data/ nobody recorded, and the one command that is right for it."""
    strange = sorted(_entries() - set(recorded.names))
    kept = [name for name in partitions() if name in recorded.names]
    changed = [name for name in kept if folder_md5(DATA / name) != recorded.md5.get(name)]
    names = " ".join(f"data/{name}" for name in [*strange, *changed])
    if not names:
        return f"data/ is not what {DATA_DVC} records: `dvc checkout --force {DATA_DVC}` makes it so"
    return f"{names}: {DATA_DVC} does not record this content: `rm -r {names}` removes it, then run `make data` again"


def _pull() -> str | None:
    try:
        dvc("pull", str(DATA_DVC))
    except DvcError as error:
        shutil.rmtree(DATA, ignore_errors=True)  # it was empty: what lies there now is half a pull
        return ABSENT if "Checkout failed" in str(error) else str(error)
    return None


def _entries() -> set[str]:
    """Return the names in data/ but for what programs leave behind, which .dvcignore hides from DVC too."""
    return {path.name for path in DATA.iterdir() if not left_behind(path.name)} if DATA.is_dir() else set()
