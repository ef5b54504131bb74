"""data/ made what data.dvc records, as far as DVC's cache and remote can."""

import json
import shutil

from ...errors import UserError
from ...paths import DATA, DATA_DVC, partitions
from ..dvc_cli import DvcError, dvc
from .pointer import Pointer, folder_md5

ABSENT = "the DVC remote does not hold what data.dvc records"


def restore(recorded: Pointer) -> list[str]:
    """Give the recorded partitions that DVC could not bring back, and that the source must deliver again.

    Raises `UserError` where data/ holds what no one recorded: it is never overwritten or taken in unseen.
    """
    if recorded.names and not _is_true(recorded) and (reason := _from_remote()):
        print(f"{reason}: reading the source", flush=True)
        for name in sorted(set(partitions()) & set(recorded.names)):
            if folder_md5(DATA / name) != recorded.md5.get(name):
                raise UserError(f"data/{name} is not what {DATA_DVC} records: delete that folder, run this again")
    if unknown := sorted(_entries() - set(recorded.names)):
        raise UserError(
            f"data/{unknown[0]} is not recorded in {DATA_DVC}: delete that folder, "
            f"`make data UNTIL={unknown[0]}` then fetches, validates and records it"
        )
    return sorted(set(recorded.names) - set(partitions()))


def _is_true(recorded: Pointer) -> bool:
    return partitions() == recorded.names and json.loads(dvc("status", "--json", str(DATA_DVC))) == {}


def _from_remote() -> str | None:
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
            raise UserError(f"data/ holds files that {DATA_DVC} does not know: remove them, or record them") from None
        return str(error)
    return None


def _pull() -> str | None:
    try:
        dvc("pull", str(DATA_DVC))
    except DvcError as error:
        shutil.rmtree(DATA, ignore_errors=True)  # it was empty: what lies there now is half a pull
        return ABSENT if "Checkout failed" in str(error) else str(error)
    return None


def _entries() -> set[str]:
    """Names in data/, but for hidden files, which .dvcignore hides from DVC too."""
    return {path.name for path in DATA.iterdir() if not path.name.startswith(".")} if DATA.is_dir() else set()
