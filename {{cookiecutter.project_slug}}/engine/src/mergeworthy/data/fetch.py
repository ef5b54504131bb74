"""`make data`: data/ becomes what data.dvc says, and new partitions are accepted as a whole or not at all."""

import fcntl
import hashlib
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
from ..adapters import dvc_files
from ..adapters.dvc import DvcError, dvc
from ..errors import UserError
from ..files import md5
from ..paths import DATA, DATA_DVC, left_behind, partition, partitions
from ..project import registered
from ..text import say
from .contract import period, validate
from .sources import Source, open_source

# DOC data.choose: Which partitions to take from the source: the next ones in order, and none left out.


def choose(recorded: list[str], until: str | None, accept: str | None, source: Source) -> list[str]:
    """Give the source's partitions after the newest of `recorded`, up to `until`, and `accept` wherever it lies.

    Raises `UserError` for a name that the source has not, one that arrives after a newer one, and a gap.
    """
    if not (recorded or until or accept):
        raise UserError("data.dvc records no partitions yet: say up to which, e.g. `make data UNTIL=2013-06`")
    asked = {name for name in (until, accept) if name and (name == accept or name not in recorded)}
    available = source.partitions() if asked else []
    for name in sorted(asked):
        _known(name, available)
    oldest, newest = (recorded[0], recorded[-1]) if recorded else ("", "")
    new = [name for name in available if until and oldest < name <= until and name not in recorded]
    for name in new:
        if name < newest and name != accept:
            raise UserError(f"{name} arrives out of order, after {newest}: take it with `make data ACCEPT={name}`")
    chosen = sorted({*new, *([accept] if accept else [])})
    for one, other in pairwise(sorted({*recorded, *chosen})):
        ends, begins = period(one), period(other)
        if other in chosen and ends and begins and ends[1] != begins[0]:
            raise UserError(f"{other} cannot follow {one}: the source lacks what lies between, deliver that first")
    return chosen


def _known(name: str, available: list[str]) -> None:
    if name not in available:
        has = f"{available[0]} to {available[-1]}" if available else "none"
        raise UserError(f"{name} is not a partition of the source in infra.yaml, which has {has}")


# DOC data.pointer: data.dvc: DVC's pointer to data/, with the partitions by name, so that a pull request's diff shows
# the months.


@dataclass
class Pointer:
    """What data.dvc's `meta` says: partition → rows of the main table, and partition → hash of its folder."""

    rows: dict[str, int] = field(default_factory=dict)
    md5: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Recorded partitions, oldest first."""
        return sorted(self.rows)


def read() -> Pointer:
    """Read data.dvc; where there is none, nothing is recorded. Raise `UserError` if it is not what DVC writes."""
    if not DATA_DVC.exists():
        return Pointer()
    content = dvc_files.read(DATA_DVC)
    rows = dict(dvc_files.partitions(content))
    for name in rows:
        partition(name, f"{DATA_DVC}: meta.partitions")
    return Pointer(rows, dict((content.get("meta") or {}).get("md5") or {}))


def write(pointer: Pointer) -> None:
    """Put the partitions into the data.dvc that `dvc add` has written."""
    content = dict(dvc_files.read(DATA_DVC))
    rows = {name: pointer.rows[name] for name in pointer.names}
    hashes = {name: pointer.md5[name] for name in pointer.names}
    content["meta"] = (content.get("meta") or {}) | {"partitions": rows, "md5": hashes}
    new = DATA_DVC.with_suffix(".dvc.new")
    new.write_text(files.dump_yaml(content))
    new.replace(DATA_DVC)


def folder_md5(folder: Path) -> str:
    """Hash a partition's folder as DVC does: the MD5 of the list of its files' MD5s."""
    inside = (path for path in folder.rglob("*") if not any(map(left_behind, path.relative_to(folder).parts)))
    files = sorted(path for path in inside if path.is_file())
    listed = [{"md5": md5(path), "relpath": path.relative_to(folder).as_posix()} for path in files]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


# DOC data.install: The one moment in which data/ and data.dvc change: both, or neither, though the process be killed
# in the middle. New partitions are staged in a hidden folder of data/, on whatever disk that is. A journal in it says
# what is about to be replaced; while it is there the change is not complete, and whoever comes next undoes it.

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
    _install_write(JOURNAL, json.dumps(journal))
    try:
        for name in names:
            if (DATA / name).exists():
                (DATA / name).rename(REPLACED / name)
            (STAGED / name).rename(DATA / name)
        dvc("add", str(DATA))
        write(recorded)
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
        _install_write(DATA_DVC, before)
    JOURNAL.unlink()


def _install_write(path: Path, text: str) -> None:
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


# DOC data.restore: data/ made what data.dvc records, as far as DVC's cache and remote can.

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


# DOC data.fetch: `make data`: data/ made true for data.dvc, and new partitions accepted whole or not at all.

SCRATCH = Path(".dvc/tmp")  # ignored by git


def fetch(until: str | None, accept: str | None = None) -> None:
    """Make data/ what data.dvc records, then add the source's partitions up to `until`, or take `accept` anew.

    Recorded partitions come from the DVC remote, or else from the source if it still delivers the same. What is read
    from the source is validated before it is accepted. Raises `UserError` with data/ and data.dvc as they were.
    """
    with _alone(), _room():
        heal()
        recorded, source = read(), open_source(settings.infra().source)
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
        _fetch_write(ordered, folder / f"{table}.parquet")
    rows = tables[registered().main].height
    say(f"{name}  {rows:>9,} {registered().main}  {time.monotonic() - start:.1f} s")
    return rows, folder_md5(folder)


def _fetch_write(table: pl.DataFrame, path: Path) -> None:
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
