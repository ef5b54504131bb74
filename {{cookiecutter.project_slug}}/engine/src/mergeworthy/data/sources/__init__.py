"""Where partitions come from: one module per kind of source, chosen by `source.kind` in infra.yaml."""

from typing import Protocol

import polars as pl

from ... import config as settings


class Source(Protocol):
    """Something that delivers the tables of the contract, partition by partition, in the contract's types."""

    def partitions(self) -> list[str]:
        """List all that can be had now, sorted as text."""
        ...

    def read(self, partition: str) -> dict[str, pl.DataFrame]:
        """Read every table of one partition; raise `UserError` where one cannot be read."""
        ...


def open_source(source: settings.Source) -> Source:
    """Give the source that the settings describe; only its own module, and so its own libraries, is imported."""
    match source:
        case settings.FlightsSource():
            from .flights import Flights

            return Flights()
        case settings.FilesSource():
            from .files import Files

            return Files(source)
        case settings.SqlSource():
            from .sql import Sql

            return Sql(source)
