"""Files in a folder or bucket as a source of partitions: parquet, or CSV of the dialect that infra.yaml describes.

The address is any that fsspec can open. A CSV file is read as a table of texts: nothing is guessed or filled in, and a
file of another dialect or kind is refused with one line that names the setting.
"""

import csv
import glob
import io
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from lzma import LZMAError
from zoneinfo import available_timezones

import fsspec
import polars as pl

from ..config.infra import Csv, FilesSource
from ..errors import BrokenDataError, UserError
from ..files import is_ignored
from ..partitions import Partition
from ..process import Deadline, Patient, SilentError, local, shown, within
from ..process import read as read_patiently
from ..project import registered
from .types import conform

HTTP_NOT_FOUND = 404
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks", ":": "colons"}
OTHER_KINDS = {  # first bytes of a file of another kind → what it is, and what to do
    b"version https://git-lfs": "is a pointer of Git LFS, not the file: run `git lfs pull` in its repository",
    b"PAR1": "is a parquet file: end source.url in .parquet",
    b"\x1f\x8b": "is compressed by gzip: end its name in .csv.gz, or set source.csv.compression",
    b"BZh": "is compressed by bzip2: end its name in .csv.bz2, or set source.csv.compression",
    b"\xfd7zXZ": "is compressed by xz: end its name in .csv.xz, or set source.csv.compression",
    b"PK\x03\x04": "is a ZIP archive or an Excel workbook: export it as CSV, or end its name in .csv.zip",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook: export it as CSV",
    b"\x28\xb5\x2f\xfd": "is compressed by Zstandard, which is not supported: compress it by gzip",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive: export it as CSV, which may be compressed as .csv.gz",
    b"SQLite format 3": "is an SQLite database: set source.kind to sql",
    b"ARROW1": "is an Arrow file: write it as parquet",
    b"%PDF-": "is a PDF document: export it as CSV",
    b"<?xml": "is an XML document, perhaps the error of a store: open it to see",
    b"<!doctype html": "is a web page, perhaps one that asks to log in: open it to see",
    b"<html": "is a web page, perhaps one that asks to log in: open it to see",
    b"<table": "is an HTML table, which some programs name like an Excel file: export it as CSV",
    b"<error": "is an XML document, perhaps the error of a store: open it to see",
    **dict.fromkeys((b'{"', b"{\n", b"{\r", b"[{", b"[\n", b"[\r", b"[["), "is JSON: export it as CSV or parquet"),
    b"<<<<<<< ": "has git's conflict markers: keep one side",
    b"\x93NUMPY": "is a NumPy array: write it as parquet",
    **dict.fromkeys((b"\x80\x03", b"\x80\x04\x95", b"\x80\x05\x95"), "is a Python pickle: write it as parquet"),
    b"\x89HDF": "is an HDF5 file: write it as parquet",
    b"Obj\x01": "is an Avro file: write it as parquet",
    b"\xff\xff\xff\xff": "is an Arrow stream: write it as parquet",
    b"{\\rtf": "is an RTF document: export it as CSV",
    b"-----BEGIN PGP": "is encrypted: decrypt it first",
}
TAR_OFFSET, TAR = 257, b"ustar"
BLANK_BEFORE_QUOTE = re.compile(r'[ \t]"')
# Byte order marks.
UTF16, UTF32 = (b"\xff\xfe", b"\xfe\xff"), (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
csv.field_size_limit(sys.maxsize)  # a text may be long


class Files:
    """The source of one file per table and partition, at `source.url` with `{partition}` and `{table}` filled in."""

    def __init__(self, settings: FilesSource) -> None:
        self._settings = settings
        self._who = shown(f"the source {settings.url}")
        try:
            # Some clients already connect here.
            opened = within(Deadline.ANSWER, self._who, lambda: fsspec.url_to_fs(settings.url, **settings.options))
        except SilentError:
            raise
        except Exception as error:  # noqa: BLE001, each store raises its own kind
            raise UserError(
                shown(f"infra.yaml: source.url: {settings.url} cannot be opened: {_first_line(error)}")
            ) from None
        self._files = opened[0] if local(settings.url) else Patient(opened[0], self._who)
        self._path = str(opened[1])
        columns = {
            f"{table}.{name}": column
            for table, schema in registered().schemas.items()
            for name, column in schema.columns.items()
        }
        for name in sorted(settings.csv.formats):
            if name not in columns:
                problem = f"is no column, name one as table.column: {next(iter(columns))}"
            elif columns[name].dtype.type not in (pl.Date, pl.Datetime, pl.Time):
                problem = f"is of type {columns[name].dtype.type}: only dates and times have formats, remove it"
            else:
                continue
            raise UserError(f"infra.yaml: source.csv.formats: {name!r} {problem}")

    def partitions(self) -> list[Partition]:
        """Return every partition that has at least one table; raise `UserError` for an invalid name."""
        with _credentials_hidden():
            return self._partitions()

    def _partitions(self) -> list[Partition]:
        tables = "|".join(re.escape(table) for table in registered().schemas)
        before, *after = re.escape(self._path).replace(r"\{table\}", f"(?:{tables})").split(r"\{partition\}")
        pattern = re.compile(f"{before}(?P<name>[^/]+)" + "(?P=name)".join(after))
        try:
            paths = self._files.glob(_fill(glob.escape(self._path), "*", "*"))
        except Exception as error:  # noqa: BLE001, each store raises its own kind
            raise UserError(f"infra.yaml: source.url: {self._path} cannot be listed: {_first_line(error)}") from None
        names = {match["name"] for path in paths if (match := pattern.fullmatch(path))}
        if not names:
            raise UserError(f"infra.yaml: source.url: there is no file of the contract's tables at {self._path!r}")
        return sorted(Partition.read(name, self._path) for name in names if not is_ignored(name))

    def read(self, partition: str) -> dict[str, pl.DataFrame]:
        """Return the tables of one partition; raise `UserError` naming a file that is missing, empty or damaged."""
        with _credentials_hidden():
            return {table: self._read(partition, table) for table in registered().schemas}

    def _read(self, partition: str, table: str) -> pl.DataFrame:
        """Return one table from its file, or from all the parts in a folder of that name."""
        where, path = f"{partition}/{table}", _fill(self._path, partition, table)
        try:
            paths = self._parts(path) if self._files.info(path)["type"] == "directory" else [path]
        except FileNotFoundError as error:
            cause = error.__cause__  # fsspec raises `FileNotFoundError` for a server that is down, too
            missing = isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) == HTTP_NOT_FOUND
            if cause is not None and not missing:
                raise UserError(f"{where}: {path} cannot be read: {_first_line(cause)}") from None
            raise UserError(f"{where}: the file {path} is missing") from None
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        except Exception as error:  # noqa: BLE001, each store raises its own kind
            raise UserError(f"{where}: {path} cannot be listed: {_first_line(error)}") from None
        if not paths:
            raise UserError(f"{where}: the folder {path} has no parts")
        parts = [self._read_file(where, part, table) for part in paths]
        first = parts[0].schema
        for path, part in zip(paths, parts, strict=True):
            if different := sorted({name for name, _ in first.items() ^ part.schema.items()}):
                raise BrokenDataError(
                    f"{where}: {path} has other columns or types than {paths[0]}: {', '.join(map(repr, different[:5]))}"
                )
        return pl.concat([part.select(first.names()) for part in parts])

    def _parts(self, folder: str) -> list[str]:
        kinds = {str(entry["name"]).rstrip("/"): entry["type"] for entry in self._files.ls(folder, detail=True)}
        parts = [path for path in sorted(kinds) if not is_ignored(name := path.rsplit("/", 1)[-1]) and name[0] != "_"]
        if folders := [path for path in parts if kinds[path] == "directory"]:
            raise UserError(f"{folders[0]} is a folder: put the parts directly into {folder}")
        return parts

    def _rows(self, content: bytes, table: str) -> pl.DataFrame:
        if not self._settings.is_csv:
            return _parquet(content)
        if self._settings.compression and (inner := _compression_of(content)):
            raise UserError(f"is compressed twice, the second time by {inner}: unpack it once")
        return _read_csv(content, self._settings.csv, registered().schemas[table].columns)

    def _read_file(self, where: str, path: str, table: str) -> pl.DataFrame:
        csv = self._settings.is_csv
        compression = self._settings.compression if csv else None
        try:
            with self._files.open(path, "rb", compression=None if compression == "zip" else compression) as file:
                content = read_patiently(file, self._who)
            if compression == "zip":
                content = _unzipped(content)
            rows = self._rows(content, table)
        except FileNotFoundError:
            raise UserError(f"{where}: the file {path} is missing") from None
        except SilentError as error:
            raise UserError(f"{where}: {path}: {error}") from None
        except UserError as error:
            raise type(error)(f"{where}: {path} {error}") from None
        except Exception as error:  # noqa: BLE001, each store and format raises its own kind
            if compression and isinstance(error, (OSError, EOFError, LZMAError, zlib.error)):
                hint = "it is cut off, or compressed in another way: set source.csv.compression in infra.yaml"
                raise UserError(f"{where}: {path} cannot be unpacked as {compression}: {hint}") from None
            if isinstance(error, pl.exceptions.DuplicateError):
                raise BrokenDataError(f"{where}: {path}: {_first_line(error)}") from None
            kind = "CSV" if csv else "parquet"
            raise UserError(f"{where}: {path} is not a whole {kind} file: {_first_line(error)}") from None
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
    """Remove the credentials from the addresses in an error."""
    try:
        yield
    except UserError as error:
        raise type(error)(shown(str(error))) from None


def _fill(path: str, partition: str, table: str) -> str:
    return path.replace("{partition}", partition).replace("{table}", table)


def _parquet(content: bytes) -> pl.DataFrame:
    if not content.startswith(b"PAR1"):
        if kind := _other_kind(content):
            raise UserError(kind)
        if not content:
            raise UserError("is not a whole parquet file: it is empty")
        if content.startswith(b"PARE"):
            raise UserError("is encrypted, which is not supported: write it without encryption")
        if b"\0" not in content and "\ufffd" not in content[:1000].decode(errors="replace")[:-1]:
            raise UserError("is text, not parquet: if it is CSV, end source.url in infra.yaml in .csv")
    # polars would end the process for an unknown zone such as +05:30; the stored values are in UTC in any case.
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


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _other_kind(content: bytes) -> str | None:
    """Return what a file of another kind is, and what to do; None if the file may be CSV or parquet."""
    if content.startswith(TAR, TAR_OFFSET):
        return "is a tar archive: deliver the CSV or parquet file in it"
    begin = content[:40].lower()
    return next((message for start, message in OTHER_KINDS.items() if begin.startswith(start.lower())), None)


def _compression_of(content: bytes) -> str | None:
    """Return how a file is compressed, by its first bytes; None if it is not."""
    message = _other_kind(content) or ""
    match = re.match(r"is compressed by (\w+)", message)
    return match[1] if match else "ZIP" if message.startswith("is a ZIP") else None


def _unzipped(content: bytes) -> bytes:
    """Return the one file in a ZIP archive; raise `UserError` if it holds none or several."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [
                name for name in archive.namelist() if not (name.endswith("/") or any(map(is_ignored, name.split("/"))))
            ]
            if len(names) != 1:
                listed = ": " + ", ".join(map(repr, names[:5])) if names else ""
                raise UserError(f"is a ZIP archive of {len(names)} files{listed}: it must hold one CSV file")
            return archive.read(names[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        raise UserError(f"is not a whole ZIP archive that can be read: {error}") from None


def _read_csv(content: bytes, dialect: Csv, columns: Iterable[str]) -> pl.DataFrame:
    """Return the table in `content` as texts, null for each of `dialect.nulls`; `columns` are the expected ones.

    Raises `UserError` that names the dialect the file seems to have, and `BrokenDataError` if the file is damaged: a
    line with another number of fields, an empty line, a column without a name. No message holds a value of the file.
    """
    if kind := _other_kind(content):
        raise UserError(kind)
    text = _decoded(content, dialect)
    header, text = _header(text, dialect, list(columns))
    if len(header) > 1:
        # The end-of-file mark of DOS and empty lines at the end are no rows.
        text = text.removesuffix("\x1a").rstrip("\r\n")
    try:
        table = pl.read_csv(
            text.encode(),
            infer_schema=False,
            separator=dialect.separator,
            empty_string_is_null="" in dialect.nulls,
            null_values=[word for word in dialect.nulls if word] or None,
        )
    except pl.exceptions.PolarsError as error:
        damage = _damaged_line(text, dialect, len(header))
        raise BrokenDataError(damage or f"is not a whole CSV file: {_without_values(error)}") from None
    last = table.to_series(-1)
    if (last.is_null() | (last == "")).any() and (damage := _damaged_line(text, dialect, len(header))):
        raise BrokenDataError(damage)
    if BLANK_BEFORE_QUOTE.search(text):
        for column in table:
            if column.str.contains(r'^[ \t]+"').any():
                raise BrokenDataError(
                    f"has a blank before a quote in column {column.name}: quotes must enclose the whole field"
                )
    return table


def _decoded(content: bytes, dialect: Csv) -> str:
    name = dialect.encoding.lower().replace("_", "-")
    if content.startswith(UTF32) and not name.startswith("utf-32"):
        raise UserError("is UTF-32: set source.csv.encoding to utf-32 in infra.yaml")
    if content.startswith(UTF16) and not name.startswith(("utf-16", "utf-32")):
        raise UserError("is UTF-16: set source.csv.encoding to utf-16 in infra.yaml")
    if not name.replace("-", "").startswith(("utf8", "u8")) and _is_utf8(content, dialect.encoding):
        raise UserError(f"is UTF-8, and source.csv.encoding in infra.yaml says {dialect.encoding}: set it to utf-8")
    try:
        text = content.decode("utf-8-sig" if name in ("utf-8", "utf8") else dialect.encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"the byte 0x{content[error.start]:02x}" if error.start < len(content) else "an incomplete character"
        raise UserError(
            f"is not {dialect.encoding}: line {line:,} has {byte}. Set source.csv.encoding in infra.yaml: "
            "cp1252 or latin-1 for Western text from Windows, utf-16 for Excel's Unicode text"
        ) from None
    if "\0" in text:
        raise UserError("holds NUL characters: it is UTF-16 (set source.csv.encoding in infra.yaml), or damaged")
    if "\n" not in text:
        return text.replace("\r", "\n")
    return text.replace("\r\r\n", "\r\n")  # line ends of Windows that were written in text mode


def _is_utf8(content: bytes, encoding: str) -> bool:
    """Return whether the content is UTF-8 and certainly not a text of `encoding`, another encoding."""
    wide = len("x".encode(encoding)) > 1
    if not wide and content.isascii():
        return False
    single_bytes = [bytes([byte]).decode(encoding, "ignore") for byte in range(128, 256)]
    if not wide and sum(map(bool, single_bytes)) < 80:  # an encoding of several bytes a letter may look like UTF-8
        return False
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def _header(text: str, dialect: Csv, columns: list[str]) -> tuple[list[str], str]:
    """Return the names of the columns, and the text from the header on; raise `UserError` if there is no such line."""
    content = text
    for _ in range(dialect.skip_lines):
        line, _, text = text.partition("\n")
        if len(set(_fields(line.rstrip("\r"), dialect.separator)) & set(columns)) * 2 > len(columns):
            raise UserError("has its header in a line that source.csv.skip_lines in infra.yaml skips: lower it")
    if content.strip() and not text.strip():
        raise UserError(
            f"has no line after the {dialect.skip_lines} that source.csv.skip_lines in infra.yaml skips: lower it"
        )
    line = text.partition("\n")[0].rstrip("\r")
    if "\r" in line:
        raise BrokenDataError("ends some lines by CR alone, but not all: save it with one kind of line end")
    if line.count('"') % 2:
        raise BrokenDataError("has a quote in its header that the same line does not close")
    if not line.strip():
        raise BrokenDataError("begins with an empty line" if text.strip() else "is empty: it has no header")
    if line.lower().startswith("sep=") and len(line) == 5:
        raise UserError(
            f"begins with Excel's line {line!r}: set source.csv.skip_lines to 1 and source.csv.separator to "
            f"{line[4]!r} in infra.yaml"
        )
    names = _fields(line, dialect.separator)
    expected = len(set(names) & set(columns))
    if expected <= 1:
        _refuse_separator(line, dialect, columns)
    if not expected and (skipped := _lines_before_header(text, dialect, columns)):
        raise UserError(f"has its header in line {skipped + 1}: set source.csv.skip_lines to {skipped} in infra.yaml")
    if "" in names:
        place = names.index("") + 1
        hint = (
            "the index of pandas, which `index=False` leaves out" if place == 1 else "one separator too many at the end"
        )
        raise BrokenDataError(f"has no name for column {place} of {len(names)}: it looks like {hint}")
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        first, second = [place for place, name in enumerate(names, 1) if name == duplicates[0]][:2]
        which = repr(duplicates[0]) if duplicates[0] in columns else "by the same name"
        raise BrokenDataError(f"names its columns {first} and {second} {which}: is its first line the header?")
    return names, text


def _refuse_separator(line: str, dialect: Csv, columns: list[str]) -> None:
    """Raise `UserError` if the header names several of the columns if another character separates them."""
    candidates = [sign for sign in dict.fromkeys(line) if not (sign.isalnum() or sign in '_"') and sign.isascii()]
    for sign in sorted(candidates, key=lambda sign: sign not in SEPARATORS):
        names = [name.strip() for name in _fields(line, sign)]
        if sign == dialect.separator or len(set(names) & set(columns)) <= 1:
            continue
        run = next((run for run in re.findall(f"{re.escape(sign)}{{2,}}", line)), None)
        if run and sign != " ":
            raise UserError(f"separates by {run!r}: export it with one character between two fields")
        description = SEPARATORS.get(sign, repr(sign))
        raise UserError(f"separates by {description}: set source.csv.separator to {sign!r} in infra.yaml")


def _lines_before_header(text: str, dialect: Csv, columns: list[str]) -> int | None:
    """Return the number of lines before a header that names most of `columns`; None if there is no such header."""
    lines = text.replace("\r\n", "\n").split("\n", 20)[:20]
    is_header = [len(set(_fields(line, dialect.separator)) & set(columns)) * 2 > len(columns) for line in lines]
    return is_header.index(True) + dialect.skip_lines if True in is_header else None


def _fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return [line]


def _damaged_line(text: str, dialect: Csv, width: int) -> str | None:
    """Return what is wrong with the first line that has more or fewer fields than the header; None if none has.

    polars would read missing fields as nulls.
    """
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.separator)
    try:
        for row in rows:
            line = rows.line_num + dialect.skip_lines
            if len(row) != width and not (width == 1 and not row):
                problem = f"has {len(row):,} field{'s'[: len(row) != 1]}, the header {width:,}" if row else "is empty"
                is_first, following = rows.line_num == 2, next(rows, None)
                cause = ""
                if following is None and 0 < len(row) < width:
                    cause = ": the file ends in the middle of a row, or with a line that is no row"
                elif is_first and len(row) == width + 1 and (following is None or len(following) == width + 1):
                    cause = ": row names of R, which `row.names=FALSE` leaves out, or one separator too many"
                return f"is damaged: line {line:,} {problem}{cause}"
            if width > 1 and not any(row):
                return f"is damaged: line {line:,} has no value in any field"
    except csv.Error as error:
        return f"is damaged: line {rows.line_num + dialect.skip_lines:,}: {error}"
    return None


def _without_values(error: Exception) -> str:
    """Return polars' message, or a message of our own if polars' may hold a value of the file."""
    message = (str(error).splitlines() or [""])[0]
    if "parse" in message or "malformed" in message.lower():
        return "a quote is not closed, or is inside a field"
    return message
