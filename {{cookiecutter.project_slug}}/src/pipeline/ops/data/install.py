"""The one moment in which data/ and data.dvc change: both, or neither."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...paths import DATA, DATA_DVC
from ..dvc_cli import dvc
from . import pointer
from .pointer import Pointer


def install(staged: Path, names: list[str], recorded: Pointer) -> None:
    """Move `staged`'s partitions into data/, add them to DVC and record them; undo all of it on any error or Ctrl-C."""
    before = DATA_DVC.read_bytes() if DATA_DVC.exists() else None
    replaced = staged / ".replaced"
    replaced.mkdir()
    try:
        DATA.mkdir(exist_ok=True)
        for name in names:
            if (DATA / name).exists():
                (DATA / name).rename(replaced / name)
            (staged / name).rename(DATA / name)
        dvc("add", str(DATA))
        pointer.write(recorded)
    except BaseException:
        with _deaf():
            _undo(staged, names, before)
        raise


def _undo(staged: Path, names: list[str], before: bytes | None) -> None:
    """Put all back; what was done is read from where the folders lie, so any step may have been the last."""
    for name in names:
        if not (staged / name).exists():
            shutil.rmtree(DATA / name)
        if (staged / ".replaced" / name).exists():
            (staged / ".replaced" / name).rename(DATA / name)
    if before is None:
        DATA_DVC.unlink(missing_ok=True)
    else:
        DATA_DVC.write_bytes(before)


@contextmanager
def _deaf() -> Iterator[None]:
    """Ignore a second Ctrl-C while undoing."""
    signals = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in signals.items():
            signal.signal(number, handler)
