"""`make data`: data/ made true for data.dvc, and new partitions accepted whole or not at all."""

import fcntl
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from .. import config as settings
from ..errors import UserError
from ..paths import DATA
from ..project import registered
from ..text import say
from . import pointer
from .choose import choose
from .contract import validate
from .install import heal, install, staging
from .pointer import Pointer
from .restore import restore
from .sources import Source, open_source

SCRATCH = Path(".dvc/tmp")  # ignored by git


def fetch(until: str | None, accept: str | None = None) -> None:
    """Make data/ what data.dvc records, then add the source's partitions up to `until`, or take `accept` anew.

    Recorded partitions come from the DVC remote, or else from the source if it still delivers the same. What is read
    from the source is validated before it is accepted. Raises `UserError` with data/ and data.dvc as they were.
    """
    with _alone(), _room():
        heal()
        recorded, source = pointer.read(), open_source(settings.infra().source)
        new = choose(recorded.names, until, accept, source)
        missing = [name for name in restore(recorded) if name not in new]
        result = Pointer(dict(recorded.rows), dict(recorded.md5))
        if new or missing:
            with staging() as folder:
                for name in sorted([*new, *missing]):
                    result.rows[name], result.md5[name] = _stage(name, folder / name, source)
                    if name in missing:
                        _same(name, recorded, result)
                install(sorted([*new, *missing]), result)
        say(f"data/ holds {result.names[0]} to {result.names[-1]}: {sum(result.rows.values()):,} {registered().main}")


def _stage(name: str, folder: Path, source: Source) -> tuple[int, str]:
    """Read, validate and write one partition; the same rows give the same bytes. Give its rows and its hash."""
    start, tables = time.monotonic(), source.read(name)
    validate(name, tables)
    folder.mkdir()
    for table, schema in registered().schemas.items():
        columns = list(schema.columns)
        ordered = tables[table].select(columns).sort(schema.unique or columns)
        _write(ordered, folder / f"{table}.parquet")
    rows = tables[registered().main].height
    say(f"{name}  {rows:>9,} {registered().main}  {time.monotonic() - start:.1f} s")
    return rows, pointer.folder_md5(folder)


def _write(table: pl.DataFrame, path: Path) -> None:
    try:
        table.write_parquet(path, compression="zstd", compression_level=3)
    except pl.exceptions.ComputeError as error:  # polars calls a full disk a computation that failed
        raise UserError(f"{path} cannot be written: {error}") from None


def _same(name: str, recorded: Pointer, delivered: Pointer) -> None:
    if delivered.md5[name] != recorded.md5.get(name):
        raise UserError(
            f"{name}: the source now delivers other content ({delivered.rows[name]:,} rows) than data.dvc records "
            f"({recorded.rows[name]:,} rows): `dvc pull` the old, or take the new with `make data ACCEPT={name}`"
        )


@contextmanager
def _room() -> Iterator[None]:
    """Refuse a data/ that DVC cannot track, and tell in a sentence what the disk refuses."""
    if DATA.is_symlink():
        raise UserError(
            f"data/ is a link to {DATA.readlink()}, and DVC tracks no linked folder: remove the link, and keep DVC's "
            "cache on that disk (`dvc cache dir --local FOLDER` and `dvc config --local cache.type symlink`)"
        )
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise UserError(f"{where}{error.strerror or error}: data/ and data.dvc are as they were") from None


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
