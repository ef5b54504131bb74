"""CSV files as programs write them: read as they are meant, or one line that says what is wrong and what to set."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from pydantic import ValidationError
from tests.attempts import attempt, refusal
from tests.engine import registration

from mergeworthy.config.infra import FilesSource
from mergeworthy.data.contract import validate
from mergeworthy.data.sources import open_source

TRIPS = pa.DataFrameSchema(
    {
        "start": pa.Column(pl.Datetime("us")),
        "place": pa.Column(pl.String, nullable=True),
        "rider": pa.Column(pl.String, nullable=True, metadata={"private": True}),
        "count": pa.Column(pl.Int16, nullable=True, metadata={"max_null": 0.9}),
        "price": pa.Column(pl.Float64, nullable=True, metadata={"max_null": 0.05}),
    },
    strict=True,
    unique=["start"],
)
ROWS = [
    ("2013-03-04 10:00", "Orly", "Ann", 5, 2.5),
    ("2013-03-05 10:00", "Zoë", "Bob", None, 3.0),
    ("2013-03-06 10:00", None, "Cy", 7, 1000.25),
]
TABLE = pl.DataFrame(ROWS, schema=["start", "place", "rider", "count", "price"], orient="row").with_columns(
    pl.col("start").str.to_datetime("%Y-%m-%d %H:%M", time_unit="us"), pl.col("count").cast(pl.Int16)
)
TEXT = "start,place,rider,count,price\n" + "".join(
    f"{start},{place or ''},{rider},{'' if count is None else count},{price}\n"
    for start, place, rider, count, price in ROWS
)
GOOD, HEADER = TEXT.encode(), TEXT.split("\n", 1)[0]


def change(*pairs: str) -> bytes:
    text = TEXT
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    return text.encode()


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names or ("trips.csv",):
            archive.writestr(name, GOOD)
    return content.getvalue()


@pytest.fixture
def read_delivery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pl.DataFrame]:
    """Write a delivery, and read it as `make data` does."""
    registration.with_tables({"trips": TRIPS}, monkeypatch)

    def read(content: bytes, name: str = "trips.csv", **csv: Any) -> pl.DataFrame:
        path = tmp_path / "2013-03" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        url = f"{tmp_path}/{{partition}}/{name.replace('trips', '{table}')}"
        tables = open_source(FilesSource.model_validate({"kind": "files", "url": url, "csv": csv})).read("2013-03")
        validate("2013-03", tables, {"trips": TRIPS})
        return tables["trips"]

    return read


GERMAN_CSV = {"separator": ";", "decimal": ","}
GERMAN = change(",", ";", "2.5", "2,5", "3.0", "3,0", "1000.25", "1000,25")
US = change("2013-03-04", "03/04/2013", "2013-03-05", "03/05/2013", "2013-03-06", "03/06/2013")
VALID: dict[str, tuple[bytes, dict[str, Any]]] = {
    "as the standard says": (GOOD, {}),
    "lines of Windows": (GOOD.replace(b"\n", b"\r\n"), {}),
    "lines of an old Mac": (GOOD.replace(b"\n", b"\r"), {}),
    "no newline at the end": (GOOD.rstrip(b"\n"), {}),
    "empty lines at the end": (GOOD + b"\n\r\n\n", {}),
    "a mark of UTF-8 before it": (b"\xef\xbb\xbf" + GOOD, {}),
    "everything quoted": (
        b"".join(b",".join(b'"%s"' % f if f else f for f in line.split(b",")) + b"\n" for line in GOOD.splitlines()),
        {},
    ),
    "columns in another order": (TABLE.select(reversed(TABLE.columns)).write_csv().encode(), {}),
    "seconds and a T": (change("04 10:00", "04T10:00:00", "05 10:00", "05T10:00:00.000000"), {}),
    "integers of pandas beside nulls": (change(",5,", ",5.0,", ",7,", ",7.0,"), {}),
    "German": (GERMAN, GERMAN_CSV),
    "tabs": (GOOD.replace(b",", b"\t"), {"separator": "\t"}),
    "bars": (GOOD.replace(b",", b"|"), {"separator": "|"}),
    "Latin-1": (TEXT.encode("latin-1"), {"encoding": "latin-1"}),
    "UTF-16": (TEXT.encode("utf-16"), {"encoding": "utf-16"}),
    "Excel's line": (b"sep=;\n" + GERMAN, {**GERMAN_CSV, "skip_lines": 1}),
    "remarks above the header": (b"# exported\n# by hand, on Monday\n" + GOOD, {"skip_lines": 2}),
    "words for null": (change("Zoë,Bob,,3.0", "Zoë,Bob,NA,3.0", ",,Cy", ",NULL,Cy"), {"nulls": ["", "NA", "NULL"]}),
    "dates of the United States": (US, {"formats": {"trips.start": "%m/%d/%Y %H:%M"}}),
    "carriage returns twice": (GOOD.replace(b"\n", b"\r\r\n"), {}),
    "UTF-32": (TEXT.encode("utf-32"), {"encoding": "utf-32"}),
    "tabs, named as in a plain text": (GOOD.replace(b",", b"\t"), {"separator": r"\t"}),
    "a unit separator": (GOOD.replace(b",", b"\x1f"), {"separator": "\x1f"}),
    "a fraction of a second": (change(" 10:00", " 10:00:00.000"), {"formats": {"trips.start": "%Y-%m-%d %H:%M:%S%.f"}}),
    "every field quoted, nulls too, as pandas' QUOTE_ALL writes it": (
        b"".join(
            b",".join(b'"%s"' % f for f in line.split(b",")) + b"\n"
            for line in GOOD.replace(b",,", b",X,").splitlines()
        )
        .replace(b'"X","3.0"', b'"","3.0"')
        .replace(b',"X","Cy"', b',,"Cy"'),
        {},
    ),
    "DOS' end of a file": (GOOD + b"\x1a", {}),
    "a mark of UTF-16, and its order named too": (b"\xff\xfe" + TEXT.encode("utf-16-le"), {"encoding": "utf-16-le"}),
    "dates without separators": (
        change(
            "2013-03-04 10:00", "201303041000", "2013-03-05 10:00", "201303051000", "2013-03-06 10:00", "201303061000"
        ),
        {"formats": {"trips.start": "%Y%m%d%H%M"}},
    ),
    "years of two digits": (
        change("2013-03-04", "3/4/13", "2013-03-05", "3/5/13", "2013-03-06", "3/6/13"),
        {"formats": {"trips.start": "%m/%d/%y %H:%M"}},
    ),
    "half days": (change(" 10:00", " 10:00 AM"), {"formats": {"trips.start": "%Y-%m-%d %I:%M %p"}}),
}


@pytest.mark.attempts("CSV")
@pytest.mark.parametrize("case", VALID)
def test_a_file_is_read_as_it_is_meant(case: str, read_delivery: Callable[..., pl.DataFrame]) -> None:
    content, csv = VALID[case]

    result = attempt(case, lambda: read_delivery(content, **csv))

    assert not isinstance(result, str), result
    assert result.select(TABLE.columns).equals(TABLE)


COMPRESSED = {
    "trips.csv.gz": gzip.compress(GOOD),
    "trips.CSV": GOOD,
    "trips.Csv.GZ": gzip.compress(GOOD),
    "trips.csv.bz2": bz2.compress(GOOD),
    "trips.csv.xz": lzma.compress(GOOD),
    "trips.csv.zip": zipped("trips.csv", "__MACOSX/._trips.csv", ".DS_Store"),
}


@pytest.mark.attempts("CSV, compressed")
@pytest.mark.parametrize("name", COMPRESSED)
def test_a_compressed_file_is_known_by_its_ending(name: str, read_delivery: Callable[..., pl.DataFrame]) -> None:
    result = attempt(name, lambda: read_delivery(COMPRESSED[name], name))

    assert not isinstance(result, str), result
    assert result.equals(TABLE)


@pytest.mark.parametrize("names", [("a.csv", "b.csv"), (".DS_Store",)])
def test_an_archive_of_other_than_one_file_is_refused(
    names: tuple[str, ...], read_delivery: Callable[..., pl.DataFrame]
) -> None:
    result = attempt(f"archive of {names}", lambda: read_delivery(zipped(*names), "trips.csv.zip"))

    assert isinstance(result, str)
    assert "trips.csv.zip is a ZIP archive of " in result


def test_a_quoted_line_end_is_kept(read_delivery: Callable[..., pl.DataFrame]) -> None:
    result = attempt("a quoted line end of Windows", lambda: read_delivery(change("Orly", '"Or\r\nly"')))

    assert not isinstance(result, str), result
    assert result["place"][0] == "Or\r\nly"


def test_a_long_text_beside_a_null_is_kept(read_delivery: Callable[..., pl.DataFrame]) -> None:
    result = attempt(
        "a long text", lambda: read_delivery(change("Orly", "x" * 140_000, "Cy,7,1000.25", "Cy,7,NA"), nulls=["", "NA"])
    )

    assert result == "2013-03/trips: column price is null in 33.3% (1 of 3 rows), max_null is 5.0%"


UNPACKED = "cannot be unpacked as {}: it is cut off, or compressed in another way: set source.csv.compression"
UNREADABLE = {
    "no gzip": ("trips.csv.gz", GOOD, UNPACKED.format("gzip")),
    "half of a gzip": ("trips.csv.gz", gzip.compress(GOOD)[:-12], UNPACKED.format("gzip")),
    "more behind a gzip": ("trips.csv.gz", gzip.compress(GOOD) + b"Oakley", UNPACKED.format("gzip")),
    "half of a bzip2": ("trips.csv.bz2", bz2.compress(GOOD)[:-12], UNPACKED.format("bz2")),
    "no xz": ("trips.csv.xz", GOOD, UNPACKED.format("xz")),
    "compressed twice": (
        "trips.csv.gz",
        gzip.compress(gzip.compress(GOOD)),
        "is compressed twice, the second time by gzip",
    ),
    "a tar archive": ("trips.csv.gz", gzip.compress(b"x".ljust(257, b"\0") + b"ustar\0"), "is a tar archive"),
    "no ZIP": ("trips.csv.zip", GOOD, "is not a whole ZIP archive"),
}


@pytest.mark.attempts("CSV, compressed")
@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_unpacked_is_one_line(case: str, read_delivery: Callable[..., pl.DataFrame]) -> None:
    name, content, message = UNREADABLE[case]

    with refusal(message):
        read_delivery(content, name)


def test_a_compression_can_be_named(read_delivery: Callable[..., pl.DataFrame]) -> None:
    assert read_delivery(gzip.compress(GOOD), compression="gzip").equals(TABLE)
    assert read_delivery(GOOD, "trips.csv.gz", compression="none").equals(TABLE)


@pytest.mark.attempts("CSV")
def test_text_that_looks_like_null_stays_text(read_delivery: Callable[..., pl.DataFrame]) -> None:
    # given a place that is called NA, and one whose name is empty and quoted
    result = attempt("NA in a text", lambda: read_delivery(change("Orly", "NA", "Zoë", '""')))

    assert not isinstance(result, str), result
    assert result["place"].to_list() == ["NA", "", None]


PARTS_OF_SECONDS = change("04 10:00", "04 10:00:00.500000")
MIDNIGHT = change("04 10:00", "04 23:59:60")
FORM = "%Y-%m-%d %H:%M:%S"
INVALID: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "UTF-8 where Latin-1 is set": (GOOD, {"encoding": "latin-1"}, "is UTF-8, and source.csv.encoding .* says latin-1"),
    "UTF-8 where Windows' is set": (b"\xef\xbb\xbf" + GOOD, {"encoding": "cp1252"}, "is UTF-8, and .* says cp1252"),
    "UTF-8 where UTF-16 is set": (GOOD, {"encoding": "utf-16"}, "is UTF-8, and source.csv.encoding .* says utf-16"),
    "a year of two digits as one of four": (
        change("2013-03-04", "3/4/13"),
        {"formats": {"trips.start": "%m/%d/%Y %H:%M"}},
        "column start .* do not fit, e.g. .*: infra.yaml names the format '%m/%d/%Y %H:%M' for it",
    ),
    "a blank before a quote": (change(",Orly", ', "Orly"'), {}, "has a blank before a quote in column place"),
    "a blank behind a quote": (change("Orly,", '"Orly" ,'), {}, "a quote is not closed, or is inside a field"),
    "a quote that a backslash escapes": (change("Orly", r'"Or\"ly"'), {}, "a quote is not closed, or is inside"),
    "blanks between fields": (GOOD.replace(b",", b" "), {}, "separates by blanks: set source.csv.separator to ' '"),
    "Hive's separator": (GOOD.replace(b",", b"\x01"), {}, r"separates by '\\x01': set source.csv.separator"),
    "tildes": (GOOD.replace(b",", b"~"), {}, "separates by '~': set source.csv.separator to '~'"),
    "semicolons and blanks": (GOOD.replace(b",", b"; "), {}, "separates by semicolons"),
    "two bars": (GOOD.replace(b",", b"||"), {}, r"separates by '\|\|': export it with one character"),
    "files joined": (
        GOOD + GOOD,
        {},
        "column start .* e.g. 'start': it is the column's name, so the file has its header more",
    ),
    "a line of sums": (GOOD + b"Total,,,12,1005.75\n", {}, "column start .* e.g. 'Total'"),
    "a remark at the end": (GOOD + b"# 3 rows\n", {}, "line 5 has 1 field, .*, or with a line that is no row"),
    "row names of R": (
        b"".join(b"%d,%s" % (n, line) if n else line for n, line in enumerate(GOOD.splitlines(keepends=True))),
        {},
        "line 2 has 6 fields, the header 5: row names of R",
    ),
    "an error of a spreadsheet": (
        change("2.5", "#REF!"),
        {},
        "'#REF!': it is the error of a formula in a spreadsheet",
    ),
    "a typographic minus": (change("2.5", "\u22122.5"), {}, r"its minus sign is U\+2212"),
    "a currency": (change("2.5", "$2.5"), {}, r"e.g. '\$2.5': write a number as 5 or -2.5, without a unit"),
    "a decimal point where a comma is set": (GOOD, {"decimal": ","}, "e.g. '2.5': source.csv.decimal .* is ',', but"),
    "pandas' missing time": (change("2013-03-04 10:00", "NaT"), {}, "column start .* e.g. 'NaT': if it means null"),
    "a dash for null": (change("Zoë,Bob,,", "Zoë,Bob,\u2014,"), {}, "column count .* e.g. '\u2014': if it means null"),
    "an hour of one digit": (change("04 10:00", "04 9:00"), {}, "'2013-03-04 9:00': .*, as 2013-03-04 10:30, or"),
    "seconds since 1970": (change("2013-03-04 10:00", "1362391200"), {}, "column start .* e.g. '1362391200'"),
    "more lines to skip than there are": (
        b"\n" + GOOD,
        {"skip_lines": 2},
        "has its header in a line .*skip_lines",
    ),
    "lines to skip of a short file": (b"a\nb\n", {"skip_lines": 2}, "has no line after the 2 that .*skip_lines"),
    "lines of JSON": (b'{"start": "2013-03-04 10:00"}\n', {}, "is JSON: export it as CSV or parquet"),
    "a list of JSON": (b'[\n  {"start": 1}]', {}, "is JSON: export it as CSV or parquet"),
    "a pickle": (b"\x80\x04\x95\x10\0\0", {}, "is a Python pickle"),
    "HTML called CSV": (b"<table><tr><td>start</td></tr></table>", {}, "is an HTML table"),
    "a refusal of a store": (b"<Error><Code>AccessDenied</Code></Error>", {}, "is an XML document, perhaps the error"),
    "a merge that nobody finished": (b"<<<<<<< HEAD\n" + GOOD, {}, "has git's conflict markers"),
    "a name with a sign that is not seen": (change("place", "pla\u200bce"), {}, r"but there is 'pla\\u200bce'"),
    "a name with another alphabet's letter": (change("place", "pl\u0430ce"), {}, r"but there is 'pl\\u0430ce'"),
    "UTF-32": (TEXT.encode("utf-32"), {}, "is UTF-32: set source.csv.encoding to utf-32"),
    "a file of Zstandard": (b"\x28\xb5\x2f\xfd" + GOOD, {}, "is compressed by Zstandard"),
    "an XML document": (b"<?xml version='1.0'?><Error/>", {}, "is an XML document"),
    "lines that end in two ways": (
        GOOD.replace(b"\n", b"\r").replace(b"Orly", b'"Or\nly"'),
        {},
        "ends some lines by CR alone",
    ),
    "a quote in the header": (change("place", '"place'), {}, "has a quote in its header that the same line does not"),
    "whole numbers with points between thousands": (
        change(",5,", ",1.000,"),
        {},
        "column count .* e.g. '1.000': export numbers without signs between the thousands",
    ),
    "a percentage": (change(",5,", ",5%,"), {}, "column count .* e.g. '5%': write a whole number of this type"),
    "a second 60": (MIDNIGHT, {}, "column start .* e.g. '2013-03-04 23:59:60'"),
    "a second 60 in a format": (MIDNIGHT, {"formats": {"trips.start": FORM}}, "column start .* e.g. '2013-03-04"),
    "Python's sign of a fraction": (
        PARTS_OF_SECONDS,
        {"formats": {"trips.start": FORM + ".%f"}},
        "'%Y-%m-%d %H:%M:%S.%f' of start: write %.f for the point and fraction of a second",
    ),
    "more digits than microseconds": (
        change("04 10:00", "04 10:00:00.0000001"),
        {"formats": {"trips.start": FORM + "%.f"}},
        "column start .* e.g. '2013-03-04 10:00:00.0000001'",
    ),
    "seconds of UTC": (
        GOOD,
        {"formats": {"trips.start": "%s"}},
        "%s counts seconds in UTC, but the column has no zone",
    ),
    "a format of a text": (
        GOOD,
        {"formats": {"trips.place": "%Y"}},
        "'trips.place' is of type String: only dates and times have formats",
    ),
    "a year 0": (change("2013-03-04", "0000-03-04"), {}, "column start .* e.g. '0000-03-04 10:00'"),
    "semicolons": (GERMAN, {}, r"separates by semicolons: set source.csv.separator to ';' in infra.yaml"),
    "tabs": (GOOD.replace(b",", b"\t"), {}, r"separates by tabs: set source.csv.separator to '\\t'"),
    "commas where semicolons are set": (GOOD, GERMAN_CSV, "separates by commas: set source.csv.separator to ','"),
    "decimal commas": (GERMAN, {"separator": ";"}, "column price must be Float64, .* e.g. '2,5': .*source.csv.decimal"),
    "thousands": (change("1000.25", '"1,000.25"'), {}, "column price must be Float64, .* e.g. '1,000.25'"),
    "thousands of a German": (GERMAN.replace(b"1000,25", b"1.000,25"), GERMAN_CSV, "column price .* e.g. '1.000,25'"),
    "Excel's line": (b"sep=;\r\n" + GERMAN, {}, "Excel's line 'sep=;': set source.csv.skip_lines to 1 and .*separator"),
    "Latin-1": (TEXT.encode("latin-1"), {}, r"is not utf-8: line 3 has the byte 0xeb\. Set source.csv.encoding"),
    "UTF-16": (TEXT.encode("utf-16"), {}, "is UTF-16: set source.csv.encoding to utf-16 in infra.yaml"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), {}, "NUL characters: it is UTF-16|is not utf-8"),
    "remarks above the header": (
        b"# exported\n" + GOOD,
        {},
        "has its header in line 2: set source.csv.skip_lines to 1",
    ),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        {},
        "is a pointer of Git LFS, .* run `git lfs pull`",
    ),
    "a web page": (b"<!DOCTYPE html><html><body>Log in</body></html>", {}, "is a web page"),
    "a compressed file": (gzip.compress(GOOD), {}, "is compressed by gzip: end its name in .csv.gz"),
    "an Excel workbook": (zipped(), {}, "is a ZIP archive or an Excel workbook"),
    "nothing at all": (b"", {}, "is empty: it has no header"),
    "only a header": (HEADER.encode(), {}, "the table has no rows"),
    "an empty line first": (b"\n" + GOOD, {}, "begins with an empty line"),
    "a short line": (change("5,2.5\n", "5\n"), {}, "is damaged: line 2 has 4 fields, the header 5$"),
    "cut in the middle of a row": (GOOD[:-9], {}, "line 4 has 4 fields, the header 5: the file ends in the middle"),
    "cut in the middle of a line in quotes": (GOOD + b'2013-03-07 10:00,"Or', {}, "is damaged: line 5"),
    "a long line": (change("5,2.5\n", "5,2.5,9\n"), {}, "is damaged: line 2 has 6 fields, the header 5"),
    "a comma within a text": (change("Orly", "Orly, Paris"), {}, "is damaged: line 2 has 6 fields, the header 5"),
    "an empty line within": (change("2.5\n", "2.5\n\n"), {}, "is damaged: line 3 is empty"),
    "a line of separators": (GOOD + b",,,,\n", {}, "is damaged: line 5 has no value in any field"),
    "a separator at the end of each line": (GOOD.replace(b"\n", b",\n"), {}, "has no name for column 6 of 6"),
    "an index of pandas": (
        b"".join(b"%s,%s\n" % (str(n - 1).encode() if n else b"", line) for n, line in enumerate(GOOD.splitlines())),
        {},
        "has no name for column 1 of 6: it looks like the index of pandas, which `index=False` leaves out",
    ),
    "an index of pandas with a name": (
        change(
            "start,",
            "Unnamed: 0,start,",
            "2013-03-04",
            "0,2013-03-04",
            "2013-03-05",
            "1,2013-03-05",
            "2013-03-06",
            "2,2013-03-06",
        ),
        {},
        "column 'Unnamed: 0' is not in the contract: it looks like the index of pandas",
    ),
    "a column twice": (change("place", "price"), {}, "names its columns 2 and 5 'price'"),
    "a blank in the header": (change(",place", ", place"), {}, "column place is missing, but there is ' place'"),
    "an upper-case header": (change(HEADER, HEADER.upper()), {}, "column start is missing, but there is 'START'"),
    "a renamed key": (
        change("start", "begin"),
        {},
        "column start is missing; columns that are not in the contract: 'begin'",
    ),
    "no header": (b"\n".join(GOOD.splitlines()[1:]), {}, "column start is missing, as is every other"),
    "a blank before a number": (change(",5,", ", 5,"), {}, "column count .* e.g. ' 5': it begins or ends with a blank"),
    "NA in a number": (change(",5,", ",NA,"), {}, "column count .* e.g. 'NA': if it means null, .*source.csv.nulls"),
    "NaN in a number": (change("2.5", "NaN"), {}, "column price .* e.g. 'NaN'"),
    "infinity": (change("2.5", "1e400"), {}, "column price .* e.g. '1e400'"),
    "a fraction of a count": (change(",5,", ",5.5,"), {}, "column count must be Int16, .* e.g. '5.5'"),
    "a count too large": (change(",5,", ",70000,"), {}, "column count must be Int16, .* e.g. '70000'"),
    "an Arabic digit": (change(",5,", ",\u0665,"), {}, "column count must be Int16, .* e.g. '\u0665'"),
    "dates of the United States": (
        US,
        {},
        "column start .* e.g. '03/04/2013 10:00': write times as ISO 8601 .*csv.formats",
    ),
    "days before months": (
        US,
        {"formats": {"trips.start": "%d.%m.%Y %H:%M"}},
        "column start .* e.g. '03/04/2013 10:00'",
    ),
    "a zone": (change("04 10:00", "04T10:00Z"), {}, "column start .* e.g. '2013-03-04T10:00Z': .* without a zone"),
    "an offset": (change("04 10:00", "04T10:00-05:00"), {}, "column start .* without a zone"),
    "an impossible date": (change("2013-03-04", "2013-02-30"), {}, "column start .* e.g. '2013-02-30 10:00'"),
    "a date of Excel": (change("2013-03-04 10:00", "41337.41667"), {}, "column start .* e.g. '41337.41667'"),
    "an empty field where text is not null": (GOOD, {"nulls": ["NA"]}, "column count .* e.g. ''"),
    "a format of a column that is not": (
        GOOD,
        {"formats": {"trips.begin": "%H"}},
        "'trips.begin' is no column, name one",
    ),
    "a format that tells no date": (GOOD, {"formats": {"trips.start": "%H:%M"}}, "'%H:%M' of start is no format of a"),
    "a format with a zone": (
        GOOD,
        {"formats": {"trips.start": "%Y-%m-%d %H:%M%z"}},
        "holds %z, but the column has no zone",
    ),
}


@pytest.mark.attempts("CSV")
@pytest.mark.parametrize("case", INVALID)
def test_another_dialect_or_damage_is_one_line(case: str, read_delivery: Callable[..., pl.DataFrame]) -> None:
    content, csv, message = INVALID[case]

    with refusal(message):
        read_delivery(content, **csv)


@pytest.mark.attempts("private value")
@pytest.mark.parametrize(
    ("content", "csv"),
    [
        (change("Ann", '"Ann Oakley"x'), {}),
        (change("Ann", "Ann, Oakley"), {}),
        (change("Ann,5", "5,Ann"), {}),
        (change("Bob,", '"Bob'), {}),
        (change(f"{HEADER}\n", "").replace(b"Ann", b"Oakley"), {}),
        (change(f"{HEADER}\n", "").replace(b"Ann", b"Oakley").replace(b"Orly", b"Oakley"), {}),
        (change("Ann", "Añ").decode().encode("latin-1"), {}),
    ],
)
def test_no_refusal_shows_a_private_value(
    content: bytes, csv: dict[str, Any], read_delivery: Callable[..., pl.DataFrame]
) -> None:
    with refusal() as error:
        read_delivery(content, **csv)

    assert not any(word in str(error.value) for word in ("Oakley", "Bob", "A\xf1"))


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "two characters": ({"separator": ";;"}, "csv.separator"),
    "a quote as separator": ({"separator": '"'}, "csv.separator"),
    "no encoding": ({"encoding": "utf-99"}, "must be an encoding that Python knows"),
    "a packing as encoding": ({"encoding": "base64"}, "must be an encoding that Python knows"),
    "another decimal sign": ({"decimal": "'"}, "csv.decimal"),
    "a format without a sign": (
        {"formats": {"trips.start": "ISO"}},
        r"csv\.formats.[^ ]*\n  String should match pattern",
    ),
    "an unknown key": ({"seperator": ";"}, "csv.seperator"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_dialect_that_cannot_be_is_refused(case: str) -> None:
    csv, message = SETTINGS[case]

    with pytest.raises(ValidationError, match=message):
        FilesSource.model_validate({"kind": "files", "url": "{partition}/{table}.csv", "csv": csv})


def test_a_dialect_of_parquet_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"csv describes CSV files, and url ends in \.parquet"):
        FilesSource.model_validate({"kind": "files", "url": "{partition}/{table}.parquet", "csv": GERMAN_CSV})
