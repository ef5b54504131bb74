"""Where partitions come from: one module per kind of source, chosen by `source.kind` in infra.yaml."""

from typing import Protocol

import polars as pl


class Source(Protocol):
    """Something that delivers the tables of the contract, partition by partition."""

    def partitions(self) -> list[str]:
        """List all that can be had now, sorted as text."""
        ...

    def read(self, partition: str) -> dict[str, pl.DataFrame]:
        """Read every table of one partition; raise `UserError` where one cannot be read."""
        ...
