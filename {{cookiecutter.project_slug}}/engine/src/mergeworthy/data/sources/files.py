"""A folder or bucket of parquet or CSV files: any address that fsspec can open."""

import glob
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from zoneinfo import available_timezones

import fsspec
import polars as pl

from ...config import FilesSource
from ...errors import BrokenDataError, UserError
from ...paths import left_behind, partition
from ...process import Deadline, Patient, SilentError, local, read, shown, within
from ...project import registered
from . import csv_files
from .casting import conform

ABSENT = 404  # HTTP's status


class Files:
    """One file per table and partition, at `url` with `{partition}` and `{table}` filled in."""

    def __init__(self, settings: FilesSource) -> None:
        self._settings = settings
        self._who = shown(f"the source {settings.url}")
        try:
            # Some clients connect here already.
            opened = within(Deadline.ANSWER, self._who, lambda: fsspec.url_to_fs(settings.url, **settings.options))
        except SilentError:
            raise
        except Exception as error:  # noqa: BLE001, each store raises its own kind
            raise UserError(shown(f"infra.yaml: source.url: {settings.url} cannot be opened: {_told(error)}")) from None
        self._files = opened[0] if local(settings.url) else Patient(opened[0], self._who)
        self._path = str(opened[1])
        known = {
            f"{table}.{name}": column
            for table, schema in registered().schemas.items()
            for name, column in schema.columns.items()
        }
        for name in sorted(settings.csv.formats):
            if name not in known:
                hint = f"is no column, name one as table.column: {next(iter(known))}"
            elif known[name].dtype.type not in (pl.Date, pl.Datetime, pl.Time):
                hint = f"is of type {known[name].dtype.type}: formats are of dates and times, remove it"
            else:
                continue
            raise UserError(f"infra.yaml: source.csv.formats: {name!r} {hint}")

    def partitions(self) -> list[str]:
        """List every partition of which at least one table is there; raise `UserError` for one that is no name."""
        with _credentials_hidden():
            return self._partitions()

    def _partitions(self) -> list[str]:
        tables = "|".join(re.escape(table) for table in registered().schemas)
        before, *after = re.escape(self._path).replace(r"\{table\}", f"(?:{tables})").split(r"\{partition\}")
        pattern = re.compile(f"{before}(?P<name>[^/]+)" + "(?P=name)".join(after))
        try:
            paths = self._files.glob(_fill(glob.escape(self._path), "*", "*"))
        except Exception as error:  # noqa: BLE001, each store raises its own kind
            raise UserError(f"infra.yaml: source.url: {self._path} cannot be listed: {_told(error)}") from None
        names = {match["name"] for path in paths if (match := pattern.fullmatch(path))}
        if not names:
            raise UserError(f"infra.yaml: source.url: no file of the contract's tables lies at {self._path!r}")
        return sorted(partition(name, self._path) for name in names if not left_behind(name))

    def read(self, partition: str) -> dict[str, pl.DataFrame]:
        """Read the tables of one partition; raise `UserError` naming a file that is missing, empty or damaged."""
        with _credentials_hidden():
            return {table: self._read(partition, table) for table in registered().schemas}

    def _read(self, partition: str, table: str) -> pl.DataFrame:
        """Read one table from its file, or from all the parts in a folder of that name."""
        where, path = f"{partition}/{table}", _fill(self._path, partition, table)
        try:
            paths = self._parts(path) if self._files.info(path)["type"] == "directory" else [path]
        except FileNotFoundError as error:
            cause = error.__cause__  # fsspec calls a file of a server that is down missing
            absent = cause is None or isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) == ABSENT
            if cause is not None and not absent:
                raise UserError(f"{where}: {path} cannot be read: {_told(cause)}") from None
            raise UserError(f"{where}: the file {path} is missing") from None
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        except Exception as error:  # noqa: BLE001, each store raises its own kind
            raise UserError(f"{where}: {path} cannot be listed: {_told(error)}") from None
        if not paths:
            raise UserError(f"{where}: the folder {path} holds no part")
        parts = [self._one(where, part, table) for part in paths]
        first = parts[0].schema
        for path, part in zip(paths, parts, strict=True):
            if differs := sorted({name for name, _ in first.items() ^ part.schema.items()}):
                raise BrokenDataError(
                    f"{where}: {path} has other columns or types than {paths[0]}: {', '.join(map(repr, differs[:5]))}"
                )
        return pl.concat([part.select(first.names()) for part in parts])

    def _parts(self, folder: str) -> list[str]:
        kinds = {str(entry["name"]).rstrip("/"): entry["type"] for entry in self._files.ls(folder, detail=True)}
        parts = [path for path in sorted(kinds) if not left_behind(name := path.rsplit("/", 1)[-1]) and name[0] != "_"]
        if below := [path for path in parts if kinds[path] == "directory"]:
            raise UserError(f"{below[0]} is a folder, where a part is expected: parts lie side by side")
        return parts

    def _rows(self, content: bytes, table: str) -> pl.DataFrame:
        if not self._settings.is_csv:
            return _parquet(content)
        if self._settings.compression and (packed := csv_files.packed(content)):
            raise UserError(f"is compressed twice, within by {packed}: unpack it once")
        return csv_files.read(content, self._settings.csv, registered().schemas[table].columns)

    def _one(self, where: str, path: str, table: str) -> pl.DataFrame:
        csv = self._settings.is_csv
        compression = self._settings.compression if csv else None
        try:
            with self._files.open(path, "rb", compression=None if compression == "zip" else compression) as file:
                content = read(file, self._who)
            if compression == "zip":
                content = csv_files.unzipped(content)
            rows = self._rows(content, table)
        except FileNotFoundError:
            raise UserError(f"{where}: the file {path} is missing") from None
        except SilentError as error:
            raise UserError(f"{where}: {path}: {error}") from None
        except UserError as error:
            raise type(error)(f"{where}: {path} {error}") from None
        except Exception as error:  # noqa: BLE001, each store and format raises its own kind
            if compression and isinstance(error, (OSError, EOFError, LZMAError, zlib.error)):
                hint = "it is cut off, or compressed otherwise, which source.csv.compression in infra.yaml can say"
                raise UserError(f"{where}: {path} cannot be unpacked as {compression}: {hint}") from None
            if isinstance(error, pl.exceptions.DuplicateError):
                raise BrokenDataError(f"{where}: {path}: {_told(error)}") from None
            kind = "CSV" if csv else "parquet"
            raise UserError(f"{where}: {path} is not a whole {kind} file: {_told(error)}") from None
        formats = {key.removeprefix(f"{table}."): form for key, form in self._settings.csv.formats.items()}
        dialect = self._settings.csv
        return conform(
            where,
            rows,
            registered().schemas[table],
            text=csv,
            decimal=dialect.decimal,
            formats=formats,
            empty_is_null=csv and "" in dialect.nulls,
        )


@contextmanager
def _credentials_hidden() -> Iterator[None]:
    """Take the credentials out of the addresses that an error names."""
    try:
        yield
    except UserError as error:
        raise type(error)(shown(str(error))) from None


def _fill(path: str, partition: str, table: str) -> str:
    return path.replace("{partition}", partition).replace("{table}", table)


def _parquet(content: bytes) -> pl.DataFrame:
    if not content.startswith(b"PAR1"):
        if told := csv_files.other_kind(content):
            raise UserError(told)
        if not content:
            raise UserError("is not a whole parquet file: it is empty")
        if content.startswith(b"PARE"):
            raise UserError("is encrypted, which is not read: write it without encryption")
        if b"\0" not in content and "\ufffd" not in content[:1000].decode(errors="replace")[:-1]:
            raise UserError("is a text and no parquet file: if it is CSV, end source.url in infra.yaml in .csv")
    # Zones that polars does not know, such as +05:30, would end the process; the values are in UTC whatever the zone.
    os.environ["POLARS_IGNORE_TIMEZONE_PARSE_ERROR"] = "1"
    try:
        table = pl.read_parquet(content)
    finally:
        del os.environ["POLARS_IGNORE_TIMEZONE_PARSE_ERROR"]
    return table.with_columns(_in_utc(column) for column in table if _has_unknown_zone(column.dtype))


def _has_unknown_zone(dtype: pl.DataType) -> bool:
    zone = getattr(dtype, "time_zone", None)
    return zone is not None and zone not in available_timezones()


def _in_utc(times: pl.Series) -> pl.Series:
    return times.to_physical().cast(pl.Datetime(times.dtype.time_unit, "UTC"))  # type: ignore[attr-defined]


def _told(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
