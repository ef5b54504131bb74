"""`make data`: data/ becomes what data.dvc records, and new partitions are accepted as a whole or not at all.

data.dvc is DVC's pointer to data/. Its `meta` lists the partitions by name, so that the diff of a pull request shows
them. Recorded partitions are restored from the DVC remote, or else from the source if it still delivers the same.

data/ and data.dvc change together or not at all, even if the process is killed. New partitions are staged in a hidden
folder of data/, so that they lie on the same disk. A journal in that folder names the partitions that are being
replaced. As long as the journal exists, the change is incomplete, and the next `make data` undoes it.
"""

import fcntl
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import polars as pl

from .. import config as settings
from .. import files
from ..adapters import dvc
from ..adapters.dvc import DvcError
from ..errors import UserError
from ..files import DATA, DATA_DVC, is_ignored, md5
from ..partitions import Partition, accepted
from ..process import on_interruption
from ..project import registered
from ..text import say
from .contract import period, validate
from .sources import Source, open_source

DVC_TEMPORARY = Path(".dvc/tmp")  # git ignores it
DVC_LOCK = DVC_TEMPORARY / "lock"
STAGED = DATA / ".incoming"
REPLACED = STAGED / ".replaced"
JOURNAL = STAGED / "journal.json"
FIX_JOURNAL = f"`rm -r {STAGED}`, then `git checkout {DATA_DVC}`"
FIX_DATA_DVC = f"restore it with `git checkout {DATA_DVC}`"
NOT_IN_REMOTE = "the DVC remote does not hold what data.dvc records"


@dataclass
class Pointer:
    """The `meta` of data.dvc: partition → rows of the main table, and partition → hash of its folder."""

    rows: dict[Partition, int] = field(default_factory=dict)
    md5: dict[Partition, str] = field(default_factory=dict)

    @property
    def names(self) -> list[Partition]:
        """Return the recorded partitions, oldest first."""
        return sorted(self.rows)


def fetch(until: str | None, accept: str | None = None) -> None:
    """Make data/ what data.dvc records, then add the source's partitions up to `until`, or read `accept` again.

    Everything that is read from the source is validated before it is accepted. Raises `UserError`; data/ and data.dvc
    are then as they were.
    """
    with _only_fetch(), _disk_errors_reported():
        undo_interrupted()
        recorded, source = read_pointer(), open_source(settings.infra().source)
        new = choose(recorded.names, until, accept, source)
        missing = [name for name in restore(recorded) if name not in new]
        result = Pointer(dict(recorded.rows), dict(recorded.md5))
        if new or missing:
            with staging() as folder:
                for name in sorted([*new, *missing]):
                    result.rows[name], result.md5[name] = _stage(name, folder / name, source)
                    if name in missing:
                        _refuse_changed(name, recorded, result)
                install(sorted([*new, *missing]), result)
        say(f"data/ holds {result.names[0]} to {result.names[-1]}: {sum(result.rows.values()):,} {registered().main}")


def choose(recorded: list[Partition], until: str | None, accept: str | None, source: Source) -> list[Partition]:
    """Return the source's partitions after the newest of `recorded` up to `until`, and `accept`, whatever its place.

    Raises `UserError` for a name that the source lacks, for a partition older than the newest one, and for a gap.
    """
    if not (recorded or until or accept):
        raise UserError(
            "data.dvc records no partitions yet: name the last one to fetch, e.g. `make data UNTIL=2013-06`"
        )
    named = {name for name in (until, accept) if name and (name == accept or name not in recorded)}
    available = source.partitions() if named else []
    for name in sorted(named):
        if name not in available:
            offered = f"{available[0]} to {available[-1]}" if available else "none"
            raise UserError(f"{name} is not a partition of the source in infra.yaml, which has {offered}")
    oldest, newest = (recorded[0], recorded[-1]) if recorded else (Partition(), Partition())
    new = [name for name in available if until and oldest < name <= until and name not in recorded]
    for name in new:
        if name < newest and name != accept:
            raise UserError(f"{name} arrives out of order, after {newest}: take it with `make data ACCEPT={name}`")
    chosen = sorted({*new, *([Partition(accept)] if accept else [])})
    for previous, following in pairwise(sorted({*recorded, *chosen})):
        before, after = period(previous), period(following)
        if following in chosen and before and after and before[1] != after[0]:
            raise UserError(
                f"{following} cannot follow {previous}: the source lacks the partitions between them, "
                "deliver those first"
            )
    return chosen


def read_pointer() -> Pointer:
    """Return what data.dvc records: nothing if it does not exist. Raise `UserError` if DVC did not write it."""
    if not DATA_DVC.exists():
        return Pointer()
    content = dvc.read(DATA_DVC)
    rows = dvc.partitions(content)
    for name in rows:
        Partition.read(name, f"{DATA_DVC}: meta.partitions")
    md5 = (content.get("meta") or {}).get("md5") or {}
    return Pointer(rows, {Partition(name): value for name, value in md5.items()})


def write_pointer(pointer: Pointer) -> None:
    """Write the partitions into the data.dvc that `dvc add` has written."""
    content = dict(dvc.read(DATA_DVC))
    rows = {name: pointer.rows[name] for name in pointer.names}
    hashes = {name: pointer.md5[name] for name in pointer.names}
    content["meta"] = (content.get("meta") or {}) | {"partitions": rows, "md5": hashes}
    files.write_atomic(DATA_DVC, files.dump_yaml(content))


def folder_md5(folder: Path) -> str:
    """Return the hash of a partition's folder as DVC computes it: the MD5 of the list of its files' MD5s."""
    paths = (path for path in folder.rglob("*") if not any(map(is_ignored, path.relative_to(folder).parts)))
    listed = [
        {"md5": md5(path), "relpath": path.relative_to(folder).as_posix()}
        for path in sorted(path for path in paths if path.is_file())
    ]
    return files.md5_of(json.dumps(listed, sort_keys=True).encode())


def restore(recorded: Pointer) -> list[Partition]:
    """Return the recorded partitions that DVC could not restore, and that the source must deliver again.

    Raises `UserError` if data/ holds anything that is not recorded: it is neither overwritten nor accepted unchecked.
    """
    read_from_source = False
    if recorded.names and not _is_up_to_date(recorded) and (reason := _restore_from_remote(recorded)):
        read_from_source = True
        say(f"{reason}: reading the source")
        for name in sorted(set(accepted()) & set(recorded.names)):
            if folder_md5(DATA / name) != recorded.md5.get(name):
                raise UserError(f"data/{name} is not what {DATA_DVC} records: delete that folder, run this again")
    if unknown := sorted(_entries() - set(recorded.names)):
        raise UserError(
            f"data/{unknown[0]} is not recorded in {DATA_DVC}: delete that folder, "
            f"`make data UNTIL={unknown[0]}` then fetches, validates and records it"
        )
    missing = sorted(set(recorded.names) - set(accepted()))
    if read_from_source and not missing:  # data/ was copied here: add it to DVC's cache, so that it can be pushed
        dvc.execute("commit", "--force", str(DATA_DVC))
    return missing


@contextmanager
def staging() -> Iterator[Path]:
    """Yield an empty folder for new partitions, and remove it afterwards."""
    REPLACED.mkdir(parents=True)
    try:
        yield STAGED
    finally:
        with on_interruption(signal.SIG_IGN):
            if not JOURNAL.exists():
                shutil.rmtree(STAGED)


def install(names: list[str], recorded: Pointer) -> None:
    """Move the staged partitions into data/, add them to DVC and record them; undo all of it on any error or Ctrl-C."""
    journal = {"names": names, "data.dvc": files.read_text(DATA_DVC, FIX_DATA_DVC) if DATA_DVC.exists() else None}
    files.write_atomic(JOURNAL, json.dumps(journal))
    try:
        for name in names:
            if (DATA / name).exists():
                (DATA / name).rename(REPLACED / name)
            (STAGED / name).rename(DATA / name)
        dvc.execute("add", str(DATA))
        write_pointer(recorded)
        JOURNAL.unlink()  # the change is complete
    except BaseException:
        with on_interruption(signal.SIG_IGN):
            _undo()
        raise


def undo_interrupted() -> None:
    """Restore data/ and data.dvc if the last `make data` was killed.

    Raises `UserError` if the dvc that it started still runs, or if its journal cannot be read.
    """
    if not STAGED.exists():
        return
    if JOURNAL.exists():
        with _dvc_locked():
            _undo()
        print("the last `make data` was interrupted: data/ and data.dvc are as before it", flush=True)
    shutil.rmtree(STAGED)


def _undo() -> None:
    """Undo an installation; if this is interrupted, it can be repeated, as the folders show which steps were done."""
    try:
        journal = files.read_mapping(JOURNAL, FIX_JOURNAL)
        names, data_dvc = [Partition.read(name, str(JOURNAL)) for name in journal["names"]], journal["data.dvc"]
    except (KeyError, TypeError):
        raise UserError(f"{JOURNAL} is damaged: {FIX_JOURNAL}") from None
    for name in names:
        if not (STAGED / name).exists() and (DATA / name).exists():
            (DATA / name).rename(STAGED / name)
        if (REPLACED / name).exists():
            (REPLACED / name).rename(DATA / name)
    if data_dvc is None:
        DATA_DVC.unlink(missing_ok=True)
    else:
        files.write_atomic(DATA_DVC, data_dvc)
    JOURNAL.unlink()


def _stage(name: str, folder: Path, source: Source) -> tuple[int, str]:
    """Read, validate and write one partition; return its rows and its hash. The same rows give the same bytes."""
    start, tables = time.monotonic(), source.read(name)
    validate(name, tables)
    folder.mkdir()
    for table, schema in registered().schemas.items():
        columns = list(schema.columns)
        _write_table(tables[table].select(columns).sort(schema.unique or columns), folder / f"{table}.parquet")
    rows = tables[registered().main].height
    say(f"{name}  {rows:>9,} {registered().main}  {time.monotonic() - start:.1f} s")
    return rows, folder_md5(folder)


def _write_table(table: pl.DataFrame, path: Path) -> None:
    try:
        table.write_parquet(path, compression="zstd", compression_level=3)
    except pl.exceptions.ComputeError as error:  # polars raises it for a full disk too
        raise UserError(f"{path} cannot be written: {error}") from None


def _refuse_changed(name: Partition, recorded: Pointer, delivered: Pointer) -> None:
    if delivered.md5[name] != recorded.md5.get(name):
        raise UserError(
            f"{name}: the source now delivers other content ({delivered.rows[name]:,} rows) than data.dvc records "
            f"({recorded.rows[name]:,} rows): `dvc pull` the recorded one, or take the new one with "
            f"`make data ACCEPT={name}`"
        )


def _is_up_to_date(recorded: Pointer) -> bool:
    return accepted() == recorded.names and json.loads(dvc.execute("status", "--json", str(DATA_DVC))) == {}


def _restore_from_remote(recorded: Pointer) -> str | None:
    """Pull and check out; if that is impossible, return the reason, with data/ unchanged."""
    try:
        if not _entries():
            return _pull()
        # Fetched first: a checkout from an incomplete cache would remove what it cannot replace.
        dvc.execute("fetch", str(DATA_DVC))
        if json.loads(dvc.execute("data", "status", "--json")).get("not_in_cache"):
            return NOT_IN_REMOTE
        dvc.execute("checkout", str(DATA_DVC))
    except DvcError as error:
        if "unsaved" in str(error):
            raise UserError(_unrecorded(recorded)) from None
        return str(error)
    return None


def _unrecorded(recorded: Pointer) -> str:
    """Return a line that names what is in data/ but not recorded, and the command that removes it."""
    unknown = sorted(_entries() - set(recorded.names))
    present = [name for name in accepted() if name in recorded.names]
    changed = [name for name in present if folder_md5(DATA / name) != recorded.md5.get(name)]
    names = " ".join(f"data/{name}" for name in [*unknown, *changed])
    if not names:
        return f"data/ is not what {DATA_DVC} records: run `dvc checkout --force {DATA_DVC}`"
    return f"{names}: {DATA_DVC} does not record this content: `rm -r {names}` removes it, then run `make data` again"


def _pull() -> str | None:
    try:
        dvc.execute("pull", str(DATA_DVC))
    except DvcError as error:
        shutil.rmtree(DATA, ignore_errors=True)  # it was empty, so what it holds now is an incomplete pull
        return NOT_IN_REMOTE if "Checkout failed" in str(error) else str(error)
    return None


def _entries() -> set[str]:
    """Return the names in data/, without the ignored ones, which .dvcignore hides from DVC too."""
    return {path.name for path in DATA.iterdir() if not is_ignored(path.name)} if DATA.is_dir() else set()


@contextmanager
def _dvc_locked() -> Iterator[None]:
    """Hold DVC's lock; raise `UserError` if a dvc is running, perhaps one that outlived its `make data`."""
    with DVC_LOCK.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError("a dvc command is running in this folder: wait for it, then run this again") from None
        yield


@contextmanager
def _disk_errors_reported() -> Iterator[None]:
    """Raise `UserError` if DVC cannot track data/, or for an error of the file system."""
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
def _only_fetch() -> Iterator[None]:
    """Exclude a second `make data`, and turn SIGTERM, as CI sends it, into an exception, so that changes are undone."""
    if not DVC_TEMPORARY.parent.is_dir():
        raise UserError(".dvc is missing: run this in the project's folder")
    DVC_TEMPORARY.mkdir(exist_ok=True)
    handler = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with (DVC_TEMPORARY / "make-data.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise UserError("another `make data` is running in this folder: wait for it") from None
        finally:
            signal.signal(signal.SIGTERM, handler)
