"""Each kind of source delivers the same month in the contract's types, or fails with one line."""

import re
from datetime import UTC, date, datetime, time
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pandera.polars as pa
import polars as pl
import polars.selectors as cs
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError
from sqlalchemy import create_engine, text
from tests.attempts import attempt, refusal, works
from tests.engine import registration

from mergeworthy.config.infra import FilesSource, SqlSource
from mergeworthy.data.contract import validate
from mergeworthy.data.sources import open_source
from mergeworthy.data.types import conform
from mergeworthy.drift import check
from mergeworthy.errors import UserError
from ml.schema import TABLES

Tables = dict[str, pl.DataFrame]
QUERIES = {
    "flights": "select * from flights where to_char(sched_dep, 'YYYY-MM') = :partition",
    "weather": "select * from weather where to_char(time, 'YYYY-MM') = :partition",
    "planes": "select * from planes",
}


@pytest.fixture(scope="module")
def month(flights: dict[str, Tables]) -> Tables:
    return {table: rows.gather_every(20) for table, rows in flights["2013-01"].items()}


@pytest.fixture(scope="module")
def database(postgres_url: str, month: Tables) -> str:
    with create_engine(postgres_url).begin() as connection:
        for table, rows in month.items():
            rows.write_database(table, connection, engine="sqlalchemy")
    return postgres_url


def sql(**changed: str | dict[str, str]) -> SqlSource:
    partitions = "select distinct to_char(sched_dep, 'YYYY-MM') from flights"
    settings = {"kind": "sql", "url_env": "SOURCE_URL", "partitions": partitions, "queries": QUERIES}
    return SqlSource.model_validate(settings | changed)


def assert_same(left: Tables, right: Tables) -> None:
    assert left.keys() == right.keys()
    for table in left:
        assert_frame_equal(left[table], right[table], check_row_order=False)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("root", ["folder", "memory://bucket"])
def test_files_anywhere_give_the_rows_they_hold(
    kind: str, root: str, month: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a month as files, where every partition's name stands twice, beside files of others
    monkeypatch.chdir(tmp_path)
    url = f"{root}/{kind}/{{partition}}/{{table}}-{{partition}}.{kind}"
    for table, rows in month.items():
        with fsspec.open(url.format(partition="2013-01", table=table), "wb", auto_mkdir=True) as file:
            rows.write_parquet(file) if kind == "parquet" else rows.write_csv(file)
    with fsspec.open(url.format(partition="2012-12", table="notes"), "wb", auto_mkdir=True) as file:
        file.write(b"none of the contract's tables")

    # when it is read
    source = open_source(FilesSource(kind="files", url=url))

    # then it is the same month
    assert source.partitions() == ["2013-01"]
    assert_same(source.read("2013-01"), month)


@pytest.mark.attempts("folder of files")
@pytest.mark.parametrize("folder", ["a[1]", "a*b", "a?b", "a b", "a#b", "a%20b", "a{b}", "[", "März"])
def test_a_folder_may_have_any_name(
    folder: str, month: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for table, rows in month.items():
        path = Path(folder, "2013-01", f"{table}.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(path)
    source = open_source(FilesSource(kind="files", url=f"{folder}/{{partition}}/{{table}}.parquet"))

    assert attempt(folder, source.partitions) == ["2013-01"]
    assert_same(source.read("2013-01"), month)


@pytest.mark.attempts("folder of files")
@pytest.mark.parametrize("place", ["nowhere", "$HOME/x", "C:\\data", "~/nowhere-at-all", "."])
def test_a_place_without_files_is_named(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = open_source(FilesSource(kind="files", url=f"{place}/{{partition}}/{{table}}.parquet"))

    refused = attempt(place, source.partitions)

    assert str(refused).startswith("infra.yaml: source.url: there is no file of the contract's tables at ")


def test_a_file_that_is_missing_empty_or_cut_short_is_named(month: Tables, tmp_path: Path) -> None:
    source = open_source(FilesSource(kind="files", url=f"{tmp_path}/{{partition}}-{{table}}.parquet"))
    file = tmp_path / "2013-01-flights.parquet"

    with pytest.raises(UserError, match=r"2013-01/flights: the file .*2013-01-flights.parquet is missing"):
        source.read("2013-01")
    file.touch()
    with pytest.raises(UserError, match=r"2013-01/flights: .*2013-01-flights.parquet is not a whole parquet file"):
        source.read("2013-01")
    month["flights"].write_parquet(file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"2013-01/flights: .*2013-01-flights.parquet is not a whole parquet file"):
        source.read("2013-01")


@pytest.mark.parametrize("url", ["month.parquet", "{partition}/{table}.xlsx", "{table}.csv"])
def test_a_url_that_cannot_name_a_file_per_table_and_partition_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match=r"must contain \{partition\} and \{table\} and end in"):
        FilesSource(kind="files", url=url)


def test_a_database_gives_the_rows_it_holds(database: str, month: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_URL", database)

    source = open_source(sql())

    assert source.partitions() == ["2013-01"]
    assert_same(source.read("2013-01"), month)


@pytest.mark.attempts("SQL")
@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("2013-01-04 10:30:00", None),
        ("2013-01-04T10:30", None),
        (
            "03/04/2013 10:00",
            r"write times as ISO 8601 without a zone, as 2013-03-04 10:30, or convert them in the query",
        ),
        ("2013-01-04 10:30:00Z", "column sched_dep must be Datetime.*without a zone"),
        ("1357295400", "column sched_dep must be Datetime.*convert them in the query"),
    ],
)
def test_a_date_that_sqlite_holds_as_text_is_iso_8601(
    written: str, message: str | None, month: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a database without types for dates
    address = f"sqlite:///{tmp_path}/source.db"
    row = month["flights"].head(1).with_columns(sched_dep=pl.lit(written))
    monkeypatch.setenv("SOURCE_URL", address)
    with create_engine(address).begin() as connection:
        for name, table in {**month, "flights": row}.items():
            texts = table.with_columns(cs.temporal().cast(pl.String)).to_dicts()
            columns = ", ".join(table.columns)
            connection.exec_driver_sql(f"create table {name} ({columns})")
            values = ", ".join(f":{column}" for column in table.columns)
            connection.execute(text(f"insert into {name} values ({values})"), texts[:50])  # noqa: S608
    queries = {name: f"select * from {name} where :partition <> ''" for name in month}  # noqa: S608
    # when it is read, then no format is guessed
    source = open_source(sql(queries=queries))
    if message:
        with refusal(message):
            source.read("2013-01")
    else:
        assert source.read("2013-01")["flights"]["sched_dep"].to_list() == [datetime(2013, 1, 4, 10, 30)]
        works()


def test_a_partition_is_bound_never_pasted_into_the_query(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_URL", database)

    assert open_source(sql()).read("' or 'a' = 'a")["flights"].is_empty()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "variable SOURCE_URL must hold the address"),
        ("postgresql://me:hunter2@host:port/x", "variable SOURCE_URL must hold the address"),
        ("odd://me:hunter2@host/x", "variable SOURCE_URL must hold the address"),
        ("postgresql://me:hunter2@127.0.0.1:1/x", "2013-01/flights: .* failed: connection"),
        ("DATABASE", "2013-01/flights: .* failed: column .* does not exist"),
    ],
)
def test_a_database_that_fails_never_tells_its_password(
    url: str, message: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a wrong address with a password, or a query whose failure would repeat it
    if url == "DATABASE":
        url = database.replace("postgres@", "postgres:hunter2@")
    monkeypatch.setenv("SOURCE_URL", url)

    with pytest.raises(UserError, match=message) as error:
        open_source(sql(queries=QUERIES | {"flights": "select hunter2 from flights"})).read("2013-01")

    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_query_that_fails_over_a_private_value_does_not_show_it(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a query that takes a tail number, which is private, for a number
    monkeypatch.setenv("SOURCE_URL", database)
    queries = QUERIES | {"flights": "select 'N14228'::text::int as flight"}

    with pytest.raises(UserError, match=r"source\.queries\.flights failed: InvalidTextRep.* private") as refused:
        open_source(sql(queries=queries)).read("2013-01")

    assert "N14228" not in str(refused.value)


@pytest.mark.attempts("SQL")
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"url_env": "postgresql://me:hunter2@host/x"}, "source.url_env must be the name of an environment variable"),
        ({"url_env": ""}, "source.url_env must be the name of an environment variable"),
        ({"url": "sqlite:///{}/none.db"}, "SOURCE_URL names the SQLite file '.*none.db', which does not exist"),
        ({"url": "sqlite://"}, "SOURCE_URL names the SQLite file ':memory:', which does not exist"),
        ({"partitions": "select null"}, "source.partitions returns null: exclude it"),
        ({"partitions": "-- nothing"}, "source.partitions returns no table: it must be one SELECT"),
        ({"query": ""}, "2013-01/flights: source.queries.flights returns no table: it must be one SELECT"),
        ({"query": "create table x (y int)"}, "2013-01/flights: source.queries.flights returns no table"),
        ({"query": "select 1 as flight, 2 as flight"}, "source.queries.flights failed: .*more than once"),
        ({"query": "select 1 as flight where 1 = 0"}, "works"),
    ],
)
def test_a_database_that_delivers_no_table_is_one_line(
    changed: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a database with nothing in it, beside which there is no other
    create_engine(f"sqlite:///{tmp_path}/source.db").connect().exec_driver_sql("vacuum")
    monkeypatch.setenv("SOURCE_URL", changed.pop("url", "sqlite:///{}/source.db").format(tmp_path))
    registration.with_tables({"flights": TABLES["flights"]}, monkeypatch)
    query = changed.pop("query", "select 1 as flight")
    settings = sql(**{"partitions": "select '2013-01'", **changed, "queries": {"flights": query}})

    result = attempt(f"{changed} {query}", lambda: [open_source(settings).partitions(), read_first(settings)])

    assert re.search(message, result if isinstance(result, str) else "works")
    assert "hunter2" not in str(result)
    assert [path.name for path in tmp_path.iterdir()] == ["source.db"]


DAY, MOMENT = pa.Column(pl.Date, nullable=True), pa.Column(pl.Datetime("us"), nullable=True)
ZONED = pa.Column(pl.Datetime("us", "UTC"), nullable=True)
SQL_TIMES = {  # what a query returns, the contract's column, and the value that is read, or how the line goes on
    "a date": ("'2013-03-04'", DAY, date(2013, 3, 4)),
    "a date as a moment": ("'2013-03-04'", MOMENT, datetime(2013, 3, 4)),
    "a moment": ("'2013-03-04 10:30:00'", MOMENT, datetime(2013, 3, 4, 10, 30)),
    "a moment of SQLAlchemy": ("'2013-03-04 10:30:00.250000'", MOMENT, datetime(2013, 3, 4, 10, 30, 0, 250_000)),
    "a moment with T": ("'2013-03-04T10:30'", MOMENT, datetime(2013, 3, 4, 10, 30)),
    "a moment of SQLite": ("datetime('2013-03-04 10:30')", MOMENT, datetime(2013, 3, 4, 10, 30)),
    "a zone": ("'2013-03-04T10:30:00+01:00'", ZONED, datetime(2013, 3, 4, 9, 30, tzinfo=UTC)),
    "a time": ("'10:30'", pa.Column(pl.Time), time(10, 30)),
    "null": ("null", MOMENT, None),
    "a date of the United States": (
        "'03/04/2013'",
        DAY,
        "'03/04/2013': write times as ISO 8601 without a zone, as 2013-03-04, or convert",
    ),
    "a date of Germany": ("'04.03.2013 10:30'", MOMENT, "'04.03.2013 10:30': write times as ISO 8601"),
    "a date without dashes": ("'20130304'", DAY, "'20130304': write times as ISO 8601 without a zone"),
    "a date that is none": ("'2013-02-30'", DAY, "'2013-02-30': write times as ISO 8601 without"),
    "an empty text": ("''", DAY, "'': if it means null, return null for it in the query"),
    "a moment for a date": ("'2013-03-04 10:30'", DAY, "'2013-03-04 10:30': write times as ISO 8601"),
    "a zone that is lost": ("'2013-03-04T10:30Z'", MOMENT, "'2013-03-04T10:30Z': write times as ISO 8601 without"),
    "no zone": ("'2013-03-04 10:30'", ZONED, "ISO 8601 with a zone, as 2013-03-04 10:30Z"),
    "seconds since 1970": ("1362393000", MOMENT, "has type Int64, expected Datetime"),
    "a number as text": ("'7'", pa.Column(pl.Int64), "has type String, expected Int64"),
}


@pytest.mark.attempts("SQL")
@pytest.mark.parametrize("case", SQL_TIMES)
@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_a_text_of_a_database_is_a_time_only_as_iso_8601(
    kind: str, case: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a database that delivers a time as text, which is all that SQLite has
    returned, column, expected = SQL_TIMES[case]
    if kind == "SQLite":
        create_engine(f"sqlite:///{tmp_path}/source.db").connect().exec_driver_sql("vacuum")
    elif "datetime(" in returned:
        returned = "to_char(timestamp '2013-03-04 10:30', 'YYYY-MM-DD HH24:MI:SS')"
    monkeypatch.setenv("SOURCE_URL", postgres_url if kind == "PostgreSQL" else f"sqlite:///{tmp_path}/source.db")
    schema = pa.DataFrameSchema({"moment": column}, strict=True)
    registration.with_tables({"flights": schema}, monkeypatch)
    settings = sql(queries={"flights": f"select {returned} as moment"})

    def delivered() -> object:
        tables = read_first(settings)
        validate("2013-01", tables, {"flights": schema})
        return tables["flights"]["moment"][0]

    # when it is read, then it is the time that the text says, or one line names what to do
    result = attempt(f"{kind}: {case}", delivered)
    if isinstance(expected, str):
        assert str(result).startswith("2013-01/flights: column moment "), result
        assert expected in str(result)
    else:
        assert result == expected


def read_first(settings: SqlSource) -> Tables:
    return open_source(settings).read("2013-01")


def test_a_partition_of_a_database_is_no_path(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_URL", database)

    with pytest.raises(UserError, match=r"source\.partitions: '2013-01/\.\./x' cannot name a partition"):
        open_source(sql(partitions="select '2013-01/../x'")).partitions()


def test_the_drift_check_writes_no_partition_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a reference, which comes from the DVC remote, that names a path
    monkeypatch.chdir(tmp_path)
    reference = SimpleNamespace(partitions=["2013-01/../../elsewhere"])

    with pytest.raises(UserError, match=r"models/drift\.json: '2013-01/\.\./\.\./elsewhere' cannot name a partition"):
        check.partitions(reference, None, tmp_path / "copy")

    assert not any(tmp_path.iterdir())


def test_queries_and_contract_name_the_same_tables() -> None:
    with pytest.raises(
        UserError, match=r"source\.queries has no query for planes, the tables are flights, weather, planes"
    ):
        open_source(sql(queries={key: QUERIES[key] for key in ("flights", "weather")}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pl.Series([200, 70_000]), "m/flights: column air_time must be Int16, but 1 of 2 do not fit, e.g. 70000"),
        (pl.Series([200.0, 1.5]), "column air_time must be Int16, but 1 of 2 do not fit, e.g. 1.5"),
        (pl.Series(["200", "NA"]), "column air_time must be Int16, but 1 of 2 do not fit, e.g. 'NA'"),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_refused_not_bent(values: pl.Series, message: str) -> None:
    with pytest.raises(UserError, match=message):
        conform("m/flights", pl.DataFrame({"air_time": values}), TABLES["flights"], text=True)


def test_what_only_parsing_could_turn_into_a_number_is_left_to_the_contract() -> None:
    typed = conform("m/flights", pl.DataFrame({"air_time": ["200"]}), TABLES["flights"])

    assert typed.schema["air_time"] == pl.String
