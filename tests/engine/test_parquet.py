"""Parquet as programs write it: the same rows, or one line."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.polars as pa
import polars as pl
import pyarrow.parquet as pq
import pytest
from tests.attempts import attempt, refusal
from tests.engine import registration
from tests.engine.test_csv import TABLE, TRIPS

from mergeworthy.config.infra import FilesSource
from mergeworthy.data.contract import validate
from mergeworthy.data.sources import open_source

FILE = Path("2013-03/trips.parquet")


@pytest.fixture
def read_delivery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], pl.DataFrame]:
    """Read what lies in `FILE`, as `make data` does."""
    registration.with_tables({"trips": TRIPS}, monkeypatch)
    monkeypatch.chdir(tmp_path)
    FILE.parent.mkdir()

    def read() -> pl.DataFrame:
        source = open_source(FilesSource(kind="files", url="{partition}/{table}.parquet"))
        assert source.partitions() == ["2013-03"]
        tables = source.read("2013-03")
        validate("2013-03", tables, {"trips": TRIPS})
        return tables["trips"]

    return read


def written(table: pl.DataFrame) -> Callable[[], None]:
    return lambda: table.write_parquet(FILE)


def parts(*tables: pl.DataFrame, left: str = "_SUCCESS") -> None:
    FILE.mkdir()
    (FILE / left).touch()
    for number, table in enumerate(tables):
        table.write_parquet(FILE / f"part-{number:05}.snappy.parquet")
    (FILE / "_metadata").write_bytes(b"of another program")
    (FILE / ".part-00000.crc").write_bytes(b"sum")


def of_pandas(**options: Any) -> None:
    TABLE.to_pandas().to_parquet(FILE, **options)


CENTS = pl.col("price").cast(pl.Decimal(12, 2))
VALID: dict[str, Callable[[], None]] = {
    "as it is": written(TABLE),
    "text as categories": written(TABLE.with_columns(pl.col("place", "rider").cast(pl.Categorical))),
    "text as an enumeration": written(TABLE.with_columns(pl.col("place").cast(pl.Enum(["Orly", "Zoë"])))),
    "categories of pandas": lambda: TABLE.to_pandas().astype({"place": "category"}).to_parquet(FILE),
    "decimals": written(TABLE.with_columns(CENTS)),
    "wider numbers": written(TABLE.with_columns(pl.col("count").cast(pl.Int64))),
    "floats of pandas for integers beside nulls": of_pandas,
    "nanoseconds": written(TABLE.with_columns(pl.col("start").cast(pl.Datetime("ns")))),
    "a folder of parts": lambda: parts(TABLE.head(1), TABLE.tail(2)),
    "parts whose columns are in another order": lambda: parts(TABLE.head(1), TABLE.tail(2).select(TABLE.columns[::-1])),
    "parts without a row": lambda: parts(TABLE.clear(), TABLE),
    "a part that is still being written": lambda: parts(TABLE, left="part-00001.parquet.tmp"),
    "half precision": written(TABLE.with_columns(pl.col("count").cast(pl.Float32))),
    "the key as pandas' index": lambda: TABLE.to_pandas().set_index("start").to_parquet(FILE),
    "timestamps of Impala": lambda: pq.write_table(TABLE.to_arrow(), FILE, use_deprecated_int96_timestamps=True),
    "types of pandas that know null": lambda: TABLE.to_pandas().convert_dtypes().to_parquet(FILE),
    "parts, one of which knows only nulls": lambda: parts(
        TABLE.head(1), TABLE.slice(1, 1).with_columns(count=pl.lit(None)), TABLE.tail(1)
    ),
}


@pytest.mark.attempts("parquet")
@pytest.mark.parametrize("case", VALID)
def test_a_file_is_read_as_it_is_meant(case: str, read_delivery: Callable[[], pl.DataFrame]) -> None:
    VALID[case]()

    result = attempt(case, read_delivery)

    assert not isinstance(result, str), result
    assert result.select(TABLE.columns).equals(TABLE)


def nan_in(column: str) -> pl.DataFrame:
    return TABLE.with_columns(pl.lit(float("nan")).alias(column))


def bytes_of(content: bytes) -> Callable[[], None]:
    def write() -> None:
        FILE.write_bytes(content)

    return write


def folders() -> None:
    (FILE / "day=1").mkdir(parents=True)
    TABLE.write_parquet(FILE / "day=1" / "part-0.parquet")


def twice() -> None:
    table = TABLE.to_arrow()
    pq.write_table(table.append_column("price", table["price"]), FILE)


INVALID: dict[str, tuple[Callable[[], None], str]] = {
    "nothing at all": (bytes_of(b""), "is not a whole parquet file: it is empty"),
    "a text": (bytes_of(TABLE.select("count").write_csv().encode()), "is text, not parquet: if it is CSV"),
    "an encrypted file": (bytes_of(b"PARE" + bytes(50) + b"PARE"), "is encrypted, which is not supported"),
    "the first half": (bytes_of(b"PAR1" + bytes(50)), "is not a whole parquet file"),
    "a column twice": (twice, "2013-03/trips: .*: column with name 'price' has more than one occurrence"),
    "folders of parts": (folders, "day=1 is a folder: put the parts directly into .*trips.parquet"),
    "finer than microseconds": (
        written(TABLE.with_columns(pl.col("start").cast(pl.Datetime("ns")) + pl.duration(nanoseconds=1))),
        "column start .* do not fit, e.g. '2013-03-04 10:00:00.000000001'",
    ),
    "text as bytes": (
        written(TABLE.with_columns(pl.col("place").cast(pl.Binary))),
        "column place has type Binary, expected String",
    ),
    "seconds since 1970": (
        written(TABLE.with_columns(pl.col("start").dt.epoch("s"))),
        "column start has type Int64, expected Datetime",
    ),
    "a number too large": (written(TABLE.with_columns(pl.lit(70_000).alias("count"))), "column count .*, e.g. 70000"),
    "NaN throughout": (written(nan_in("price")), "column price holds NaN or infinity in 3 of 3 rows"),
    "infinity": (
        written(TABLE.with_columns(price=pl.lit(float("-inf")))),
        "column price holds NaN or infinity in 3 of 3 rows",
    ),
    "a zone": (
        written(TABLE.with_columns(pl.col("start").dt.replace_time_zone("UTC"))),
        r"column start has type Datetime\(.*UTC.*\), expected .*: the contract's has no zone",
    ),
    "text for times": (
        written(TABLE.with_columns(pl.col("start").dt.to_string("%m/%d/%Y %H:%M"))),
        "column start has type String, expected Datetime",
    ),
    "decimals with a fraction for integers": (
        written(TABLE.with_columns(count=pl.Series([Decimal("2.50")] * 3))),
        "column count must be Int16, but 3 of 3 do not fit, e.g. 2.50",
    ),
    "an index of pandas": (
        lambda: TABLE.to_pandas().set_index(pd.Index([7, 9, 12])).to_parquet(FILE),
        "column '__index_level_0__' is not in the contract: it looks like the index of pandas",
    ),
    "a key that is the index of pandas, by another name": (
        written(TABLE.rename({"start": "Start "})),
        "column start is missing, but there is 'Start ': blanks and capitals count",
    ),
    "no column of the contract": (
        written(pl.DataFrame({"a": [1], "b": [2]})),
        "column start is missing, as is every other: does the table have the names",
    ),
    "no column at all": (written(pl.DataFrame()), "column start is missing, as is every other"),
    "a pointer of Git LFS": (
        lambda: FILE.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n") and None,
        "is a pointer of Git LFS",
    ),
    "a web page": (lambda: FILE.write_bytes(b"<html>Log in</html>") and None, "is a web page"),
    "parts with other columns": (
        lambda: parts(TABLE, TABLE.drop("price")),
        "part-00001.snappy.parquet has other columns or types than .*part-00000",
    ),
    "a folder without parts": (lambda: parts(), "the folder .*trips.parquet has no parts"),
}


@pytest.mark.attempts("parquet")
@pytest.mark.parametrize("case", INVALID)
def test_what_is_not_the_table_is_one_line(case: str, read_delivery: Callable[[], pl.DataFrame]) -> None:
    write, message = INVALID[case]
    write()

    with refusal(message):
        read_delivery()


@pytest.mark.attempts("private value")
@pytest.mark.parametrize(
    "rows",
    [
        TABLE.with_columns(rider=pl.lit("Oakley")).vstack(TABLE.with_columns(rider=pl.lit("Oakley"))),
        TABLE.with_columns(rider=pl.Series(["Oakley", "Bob", "Cy"]), place=pl.lit(None, pl.String)),
    ],
)
@pytest.mark.parametrize("unique", [["start", "rider"], ["rider"], ["start"]])
@pytest.mark.parametrize("check", [pa.Check.str_matches("^x"), pa.Check.isin(["x"]), None])
def test_no_refusal_shows_a_private_value(rows: pl.DataFrame, unique: list[str], check: pa.Check | None) -> None:
    rider = pa.Column(pl.String, check, metadata={"private": True, "max_null": 0})
    columns = {**TRIPS.columns, "rider": rider, "place": pa.Column(pl.String, nullable=False)}
    schema = pa.DataFrameSchema(columns, strict=True, unique=unique)

    with refusal() as error:
        validate("2013-03", {"trips": rows}, {"trips": schema})

    assert "Oakley" not in str(error.value)
    assert "Bob" not in str(error.value)


@pytest.mark.attempts("parquet")
@pytest.mark.usefixtures("read_delivery")
@pytest.mark.parametrize("zone", ["+05:30", "-03:00", "UTC"])
def test_a_zone_that_is_an_offset_gives_its_moments(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # given times as pandas writes them, whose zone polars may not know
    schema = pa.DataFrameSchema({**TRIPS.columns, "start": pa.Column(pl.Datetime("us", "UTC"))}, unique=["start"])
    registration.with_tables({"trips": schema}, monkeypatch)
    frame = TABLE.to_pandas()
    frame["start"] = frame["start"].dt.tz_localize("UTC").dt.tz_convert(zone)
    frame.to_parquet(FILE)

    source = open_source(FilesSource(kind="files", url="{partition}/{table}.parquet"))
    result = attempt(f"zone {zone}", lambda: source.read("2013-03")["trips"])

    assert not isinstance(result, str), result
    assert result["start"].dt.replace_time_zone(None).to_list() == TABLE["start"].to_list()
