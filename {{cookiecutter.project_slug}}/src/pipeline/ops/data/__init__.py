"""`make data`: data/ made true for data.dvc, and new partitions accepted whole or not at all."""

import fcntl
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ... import settings
from ...contract import validate
from ...errors import UserError
from ...ml.schema import TABLES
from ..sources import Source, open_source
from . import pointer
from .choose import choose
from .install import install
from .pointer import Pointer
from .restore import restore

MAIN = next(iter(TABLES))
SCRATCH = Path(".dvc/tmp")  # on the same disk as data/, and ignored by git and DVC


def fetch(until: str | None, accept: str | None = None) -> None:
    """Make data/ what data.dvc records, then add the source's partitions up to `until`, or take `accept` anew.

    Recorded partitions come from the DVC remote, or else from the source if it still delivers the same. What is read
    from the source is validated before it is accepted. Raises `UserError` with data/ and data.dvc as they were.
    """
    with _alone():
        recorded, source = pointer.read(), open_source(settings.infra().source)
        new = choose(recorded.names, until, accept, source)
        missing = [name for name in restore(recorded) if name not in new]
        result = Pointer(dict(recorded.rows), dict(recorded.md5))
        if new or missing:
            with tempfile.TemporaryDirectory(dir=SCRATCH, prefix="incoming-") as scratch:
                for name in sorted([*new, *missing]):
                    result.rows[name], result.md5[name] = _stage(name, Path(scratch) / name, source)
                    if name in missing:
                        _same(name, recorded, result)
                install(Path(scratch), sorted([*new, *missing]), result)
        print(f"data/ holds {result.names[0]} to {result.names[-1]}: {sum(result.rows.values()):,} {MAIN}")


def _stage(name: str, folder: Path, source: Source) -> tuple[int, str]:
    """Read, validate and write one partition; the same rows give the same bytes. Give its rows and its hash."""
    start, tables = time.monotonic(), source.read(name)
    validate(name, tables)
    folder.mkdir()
    for table, schema in TABLES.items():
        columns = list(schema.columns)
        ordered = tables[table].select(columns).sort(schema.unique or columns)
        ordered.write_parquet(folder / f"{table}.parquet", compression="zstd", compression_level=3)
    rows = tables[MAIN].height
    print(f"{name}  {rows:>9,} {MAIN}  {time.monotonic() - start:.1f} s", flush=True)
    return rows, pointer.folder_md5(folder)


def _same(name: str, recorded: Pointer, delivered: Pointer) -> None:
    if delivered.md5[name] != recorded.md5.get(name):
        raise UserError(
            f"{name}: the source now delivers other content ({delivered.rows[name]:,} rows) than data.dvc records "
            f"({recorded.rows[name]:,} rows): `dvc pull` the old, or take the new with `make data ACCEPT={name}`"
        )


@contextmanager
def _alone() -> Iterator[None]:
    """Keep a second `make data` out, and turn a polite kill (CI's cancel) into an exception that undoes things."""
    if not SCRATCH.parent.is_dir():
        raise UserError(".dvc is missing: run this in the project's folder")
    SCRATCH.mkdir(exist_ok=True)
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with (SCRATCH / "make-data.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise UserError("another `make data` is running in this folder: wait for it") from None
        finally:
            signal.signal(signal.SIGTERM, before)
