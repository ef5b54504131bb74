"""A folder or bucket of parquet or CSV files: any address that fsspec can open."""

import re

import fsspec
import polars as pl

from ...errors import UserError
from ...ml.schema import TABLES
from ...settings import FilesSource
from ..outside import Patient, local
from .casting import conform


class Files:
    """One file per table and partition, at `url` with `{partition}` and `{table}` filled in."""

    def __init__(self, settings: FilesSource) -> None:
        try:
            files, path = fsspec.url_to_fs(settings.url, **settings.options)
            self._files = files if local(settings.url) else Patient(files, f"the source {settings.url}")
            self._path = str(path)
        except (ImportError, ValueError) as error:
            raise UserError(f"infra.yaml: source.url: {settings.url} cannot be opened: {error}") from None

    def partitions(self) -> list[str]:
        """List every partition of which at least one table is there."""
        tables = "|".join(re.escape(table) for table in TABLES)
        before, *after = re.escape(self._path).replace(r"\{table\}", f"(?:{tables})").split(r"\{partition\}")
        pattern = re.compile(f"{before}(?P<name>[^/]+)" + "(?P=name)".join(after))
        try:
            paths = self._files.glob(self._fill("*", "*"))
        except Exception as error:  # noqa: BLE001, each store raises its own kind
            raise UserError(f"infra.yaml: source.url: {self._path} cannot be listed: {_told(error)}") from None
        return sorted({match["name"] for path in paths if (match := pattern.fullmatch(path))})

    def read(self, partition: str) -> dict[str, pl.DataFrame]:
        """Read the tables of one partition; raise `UserError` naming a file that is missing, empty or damaged."""
        return {table: self._read(partition, table) for table in TABLES}

    def _read(self, partition: str, table: str) -> pl.DataFrame:
        where, path, csv = f"{partition}/{table}", self._fill(partition, table), self._path.endswith(".csv")
        try:
            with self._files.open(path, "rb") as file:
                # As text: what CSV means by a value is the contract's to say, not a guess from its first rows.
                rows = pl.read_csv(file, infer_schema=False) if csv else pl.read_parquet(file)
        except FileNotFoundError:
            raise UserError(f"{where}: the file {path} is missing") from None
        except Exception as error:  # noqa: BLE001, each store and format raises its own kind
            kind = "CSV" if csv else "parquet"
            raise UserError(f"{where}: {path} is not a whole {kind} file: {_told(error)}") from None
        return conform(where, rows, TABLES[table], text=csv)

    def _fill(self, partition: str, table: str) -> str:
        return self._path.replace("{partition}", partition).replace("{table}", table)


def _told(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
