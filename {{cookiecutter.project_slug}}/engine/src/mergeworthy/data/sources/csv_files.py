"""A CSV file as a table of texts: nothing guessed and nothing filled in, and a sentence for one of another dialect."""

import csv
import io
import re
import sys
import zipfile
from collections.abc import Iterable

import polars as pl

from ...config import Csv
from ...errors import BrokenDataError, UserError
from ...paths import left_behind

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks", ":": "colons"}
KINDS = {  # how files of another kind begin
    b"version https://git-lfs": "is a pointer of Git LFS and not the file: run `git lfs pull` where it comes from",
    b"PAR1": "is a parquet file: end source.url in .parquet",
    b"\x1f\x8b": "is compressed by gzip: end its name in .csv.gz, or set source.csv.compression",
    b"BZh": "is compressed by bzip2: end its name in .csv.bz2, or set source.csv.compression",
    b"\xfd7zXZ": "is compressed by xz: end its name in .csv.xz, or set source.csv.compression",
    b"PK\x03\x04": "is a ZIP archive or an Excel workbook: export it as CSV, or end its name in .csv.zip",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook: export it as CSV",
    b"\x28\xb5\x2f\xfd": "is compressed by Zstandard, which is not read: compress it by gzip and end it in .csv.gz",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive: export it as CSV, which may be compressed as .csv.gz",
    b"SQLite format 3": "is an SQLite database: set source.kind to sql",
    b"ARROW1": "is an Arrow file: write it as parquet",
    b"%PDF-": "is a PDF document: export it as CSV",
    b"<?xml": "is an XML document, maybe the error of a store: look into it",
    b"<!doctype html": "is a web page, maybe one that asks to log in",
    b"<html": "is a web page, maybe one that asks to log in",
    b"<table": "is a table of HTML, as some programs call an Excel file: export it as CSV",
    b"<error": "is an XML document, maybe the error of a store: look into it",
    **dict.fromkeys((b'{"', b"{\n", b"{\r", b"[{", b"[\n", b"[\r", b"[["), "is JSON: export it as CSV or parquet"),
    b"<<<<<<< ": "has git's conflict markers: keep one side",
    b"\x93NUMPY": "is an array of NumPy: write it as parquet",
    **dict.fromkeys((b"\x80\x03", b"\x80\x04\x95", b"\x80\x05\x95"), "is a pickle of Python's: write it as parquet"),
    b"\x89HDF": "is an HDF5 file: write it as parquet",
    b"Obj\x01": "is an Avro file: write it as parquet",
    b"\xff\xff\xff\xff": "is an Arrow stream: write it as parquet",
    b"{\\rtf": "is a text of a word processor: export it as CSV",
    b"-----BEGIN PGP": "is encrypted: decrypt it first",
}
TAR = b"ustar"  # at byte 257
QUOTED = re.compile(r'[ \t]"')
csv.field_size_limit(sys.maxsize)  # a text may be long
UTF8, UTF16, UTF32 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff"), (b"\xff\xfe\0\0", b"\0\0\xfe\xff")


def other_kind(content: bytes) -> str | None:
    """Return what a file is that begins like one of another kind, and what to do."""
    if content[257:262] == TAR:
        return "is a tar archive: put one CSV or parquet file into each place"
    begin = content[:40].lower()
    return next((told for magic, told in KINDS.items() if begin.startswith(magic.lower())), None)


def packed(content: bytes) -> str | None:
    """Return how a file is compressed, if it begins like one that is."""
    told = other_kind(content) or ""
    found = re.match(r"is compressed by (\w+)", told)
    return found[1] if found else "ZIP" if told.startswith("is a ZIP") else None


def unzipped(content: bytes) -> bytes:
    """Return the one file in a ZIP archive; raise `UserError` if it holds none or several."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if not (name.endswith("/") or _left_behind(name))]
            if len(names) != 1:
                listed = ": " + ", ".join(map(repr, names[:5])) if names else ""
                raise UserError(f"is a ZIP archive of {len(names)} files{listed}: put one CSV file into each")
            return archive.read(names[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        raise UserError(f"is not a whole ZIP archive that can be read: {error}") from None


def _left_behind(path: str) -> bool:
    return any(map(left_behind, path.split("/")))


def read(content: bytes, dialect: Csv, columns: Iterable[str]) -> pl.DataFrame:
    """Return the table in `content`, all columns text, null where one of `dialect.nulls` is; `columns` are expected.

    Raises `UserError` saying which dialect the file seems to have, and `BrokenDataError` where it is damaged: a line
    with another number of fields, an empty line, a column without a name. No sentence holds a value of the file.
    """
    if told := other_kind(content):
        raise UserError(told)
    text = _decoded(content, dialect)
    header, text = _header(text, dialect, list(columns))
    if len(header) > 1:
        text = text.removesuffix("\x1a").rstrip("\r\n")  # DOS' end of a file, and lines that are empty, are no rows
    try:
        table = pl.read_csv(
            text.encode(),
            infer_schema=False,
            separator=dialect.separator,
            empty_string_is_null="" in dialect.nulls,
            null_values=[word for word in dialect.nulls if word] or None,
        )
    except pl.exceptions.PolarsError as error:
        odd = _uneven(text, dialect, len(header))
        raise BrokenDataError(odd or f"is not a whole CSV file: {_first_line(error)}") from None
    last = table.to_series(-1)
    if (last.is_null() | (last == "")).any() and (odd := _uneven(text, dialect, len(header))):
        raise BrokenDataError(odd)
    if QUOTED.search(text):
        for column in table:
            if column.str.contains(r'^[ \t]+"').any():
                raise BrokenDataError(
                    f"has a blank before a quote in column {column.name}: quotes enclose a whole field"
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
        byte = f"line {line:,} has the byte 0x{content[error.start]:02x}" if error.start < len(content) else "its end"
        raise UserError(
            f"is not {dialect.encoding}: {byte}. Set source.csv.encoding in infra.yaml: "
            "cp1252 or latin-1 for Western text from Windows, utf-16 for Excel's Unicode text"
        ) from None
    if "\0" in text:
        raise UserError("holds NUL characters: it is UTF-16 (set source.csv.encoding in infra.yaml), or damaged")
    if "\n" not in text:
        return text.replace("\r", "\n")
    return text.replace("\r\r\n", "\r\n")  # Windows' own lines, written in text mode


def _is_utf8(content: bytes, encoding: str) -> bool:
    """Return whether what is to be read in another encoding is UTF-8, which no text of that encoding looks like."""
    wide = len("x".encode(encoding)) > 1
    if not wide and content.isascii():
        return False
    alone = [bytes([byte]).decode(encoding, "ignore") for byte in range(128, 256)]
    if not wide and sum(map(bool, alone)) < 80:  # letters of more than one byte may look like UTF-8
        return False
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def _header(text: str, dialect: Csv, columns: list[str]) -> tuple[list[str], str]:
    """Return the names of the columns, and the text from their line on."""
    whole = text
    for _ in range(dialect.skip_lines):
        line, _, text = text.partition("\n")
        if len(set(_fields(line.rstrip("\r"), dialect.separator)) & set(columns)) * 2 > len(columns):
            raise UserError("has its header in a line that source.csv.skip_lines in infra.yaml passes over: lower it")
    if whole.strip() and not text.strip():
        raise UserError(f"has no line after the {dialect.skip_lines} that source.csv.skip_lines passes over: lower it")
    line = text.partition("\n")[0].rstrip("\r")
    if "\r" in line:
        raise BrokenDataError("ends some lines by CR alone and others not: save it with one kind of line end")
    if line.count('"') % 2:
        raise BrokenDataError("has a quote in its header that the same line does not close")
    if not line.strip():
        raise BrokenDataError("begins with an empty line" if text.strip() else "is empty, it has not even a header")
    if line.lower().startswith("sep=") and len(line) == 5:
        raise UserError(
            f"begins with Excel's line {line!r}: set source.csv.skip_lines to 1 and source.csv.separator to "
            f"{line[4]!r} in infra.yaml"
        )
    names = _fields(line, dialect.separator)
    known = len(set(names) & set(columns))
    if known <= 1:
        _refuse_separator(line, dialect, columns)
    if not known and (later := _later(text, dialect, columns)):
        raise UserError(f"has its header in line {later + 1}: set source.csv.skip_lines to {later} in infra.yaml")
    if "" in names:
        place = names.index("") + 1
        hint = (
            "the index of pandas, which `index=False` leaves out" if place == 1 else "a separator too many at the end"
        )
        raise BrokenDataError(f"has no name for column {place} of {len(names)}: it looks like {hint}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        first, second = [place for place, name in enumerate(names, 1) if name == twice[0]][:2]
        which = repr(twice[0]) if twice[0] in columns else "by the same name"
        raise BrokenDataError(f"names its columns {first} and {second} {which}: is its first line the header?")
    return names, text


def _refuse_separator(line: str, dialect: Csv, columns: list[str]) -> None:
    """Raise `UserError` if the header names more of the columns where another sign separates them."""
    others = [sign for sign in dict.fromkeys(line) if not (sign.isalnum() or sign in '_"') and sign.isascii()]
    for sign in sorted(others, key=lambda sign: sign not in SEPARATORS):
        names = [name.strip() for name in _fields(line, sign)]
        if sign == dialect.separator or len(set(names) & set(columns)) <= 1:
            continue
        run = next((run for run in re.findall(f"{re.escape(sign)}{{2,}}", line)), None)
        if run and sign != " ":
            raise UserError(f"separates by {run!r}: export it with one character between two fields")
        called = SEPARATORS.get(sign, repr(sign))
        raise UserError(f"separates by {called}: set source.csv.separator to {sign!r} in infra.yaml")


def _later(text: str, dialect: Csv, columns: list[str]) -> int | None:
    """Return after how many lines a header stands that names most of `columns`."""
    lines = text.replace("\r\n", "\n").split("\n", 20)[:20]
    found = [len(set(_fields(line, dialect.separator)) & set(columns)) * 2 > len(columns) for line in lines]
    return found.index(True) + dialect.skip_lines if True in found else None


def _fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return [line]


def _uneven(text: str, dialect: Csv, width: int) -> str | None:
    """Return which line first has more or fewer fields than the header, of which a reader would make nulls."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.separator)
    try:
        for row in rows:
            line = rows.line_num + dialect.skip_lines
            if len(row) != width and not (width == 1 and not row):
                said = f"has {len(row):,} field{'s'[: len(row) != 1]}, the header {width:,}" if row else "is empty"
                first, after = rows.line_num == 2, next(rows, None)
                cut = ""
                if after is None and 0 < len(row) < width:
                    cut = ": the file ends in the middle of a row, or with a line that is none"
                elif first and len(row) == width + 1 and (after is None or len(after) == width + 1):
                    cut = ": row names of R, which `row.names=FALSE` leaves out, or a separator too many"
                return f"is damaged: line {line:,} {said}{cut}"
            if width > 1 and not any(row):
                return f"is damaged: line {line:,} has no value in any field"
    except csv.Error as error:
        return f"is damaged: line {rows.line_num + dialect.skip_lines:,}: {error}"
    return None


def _first_line(error: Exception) -> str:
    # Of polars' sentences only those without a value of the file.
    told = (str(error).splitlines() or [""])[0]
    return "a quote is not closed or stands inside a field" if "parse" in told or "malformed" in told.lower() else told
