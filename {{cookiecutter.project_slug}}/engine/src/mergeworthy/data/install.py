"""The one moment in which data/ and data.dvc change: both, or neither, though the process be killed in the middle.

New partitions are staged in a hidden folder of data/, on whatever disk that is. A journal in it says what is about to
be replaced; while it is there the change is not complete, and whoever comes next undoes it.
"""

import fcntl
import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import files
from ..adapters.dvc_cli import dvc
from ..errors import UserError
from ..paths import DATA, DATA_DVC, partition
from . import pointer
from .pointer import Pointer

STAGED = DATA / ".incoming"
REPLACED = STAGED / ".replaced"
JOURNAL = STAGED / "journal.json"
DVC_LOCK = Path(".dvc/tmp/lock")
MEND = f"`rm -r {STAGED}`, then `git checkout {DATA_DVC}`"
FIX = f"restore it with `git checkout {DATA_DVC}`"


@contextmanager
def staging() -> Iterator[Path]:
    """Give an empty folder for new partitions, removed afterwards."""
    REPLACED.mkdir(parents=True)
    try:
        yield STAGED
    finally:
        with _deaf():
            if not JOURNAL.exists():
                shutil.rmtree(STAGED)


def install(names: list[str], recorded: Pointer) -> None:
    """Move the staged partitions into data/, add them to DVC and record them; undo all of it on any error or Ctrl-C."""
    journal = {"names": names, "data.dvc": files.read_text(DATA_DVC, FIX) if DATA_DVC.exists() else None}
    _write(JOURNAL, json.dumps(journal))
    try:
        for name in names:
            if (DATA / name).exists():
                (DATA / name).rename(REPLACED / name)
            (STAGED / name).rename(DATA / name)
        dvc("add", str(DATA))
        pointer.write(recorded)
        JOURNAL.unlink()  # from here on it is done
    except BaseException:
        with _deaf():
            _undo()
        raise


def heal() -> None:
    """Put data/ and data.dvc back as they were before a `make data` that was killed.

    Raises `UserError` if the dvc that it had started still runs, or if its journal cannot be read.
    """
    if not STAGED.exists():
        return
    if JOURNAL.exists():
        with _dvc_waits():
            _undo()
        print("the last `make data` was stopped in the middle: data/ and data.dvc are as before it", flush=True)
    shutil.rmtree(STAGED)


def _undo() -> None:
    """Put all back; what was done is read from where the folders lie, so any step, of this too, may be the last."""
    try:
        journal = files.read_mapping(JOURNAL, MEND)
        names, before = [partition(name, str(JOURNAL)) for name in journal["names"]], journal["data.dvc"]
    except (KeyError, TypeError):
        raise UserError(f"{JOURNAL} is damaged: {MEND}") from None
    for name in names:
        if not (STAGED / name).exists() and (DATA / name).exists():
            (DATA / name).rename(STAGED / name)
        if (REPLACED / name).exists():
            (REPLACED / name).rename(DATA / name)
    if before is None:
        DATA_DVC.unlink(missing_ok=True)
    else:
        _write(DATA_DVC, before)
    JOURNAL.unlink()


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


@contextmanager
def _dvc_waits() -> Iterator[None]:
    """Keep DVC out; raise `UserError` if a dvc is at work, maybe the one that outlived its `make data`."""
    with DVC_LOCK.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError("a dvc command is running in this folder: wait for it, then run this again") from None
        yield


@contextmanager
def _deaf() -> Iterator[None]:
    """Ignore a second Ctrl-C while undoing."""
    signals = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in signals.items():
            signal.signal(number, handler)
