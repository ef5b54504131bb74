"""A database as a source of partitions: one SELECT per table, through SQLAlchemy."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import polars as pl
from sqlalchemy import URL, Connection, create_engine, make_url, text
from sqlalchemy.exc import OperationalError, ProgrammingError, ResourceClosedError

from ..config.infra import SqlSource
from ..errors import UserError
from ..partitions import Partition
from ..process import Deadline, SilentError, within
from ..project import registered
from .contract import private
from .types import conform

DATABASE = "the database"
NAMES_ONLY = (OperationalError, ProgrammingError, pl.exceptions.DuplicateError)  # their messages hold no values
Result = TypeVar("Result")


class Sql:
    """The queries of infra.yaml, with the partition's name bound to `:partition`.

    The database's address stays in its environment variable; no error repeats its password.
    """

    def __init__(self, settings: SqlSource) -> None:
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
        bound = {"parameters": {"partition": partition}}
        query = text(self._settings.queries[table])
        rows = self._ask(
            f"{partition}/{table}: source.queries.{table}",
            lambda connection: pl.read_database(query, connection, infer_schema_length=None, execute_options=bound),
        )
        return conform(f"{partition}/{table}", rows, registered().schemas[table], text_times=True)

    def _ask(self, where: str, request: Callable[[Connection], Result]) -> Result:
        """Return the result of a request; raise `UserError` beginning with `where` if the database fails or hangs."""
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
            if not isinstance(error, NAMES_ONLY) and _has_private_columns():
                kind = type(getattr(error, "orig", None) or error).__name__
                message = f"{kind}; its message may hold private values"
            if self._password:
                message = message.replace(self._password, "***")
            raise UserError(f"{where} failed: {message}") from None


def _refuse_missing_file(address: URL, variable: str) -> None:
    """Raise `UserError` if the SQLite file does not exist: SQLite would create an empty database."""
    name = address.database or ":memory:"
    if address.get_backend_name() == "sqlite" and not name.startswith("file:") and not Path(name).is_file():
        raise UserError(f"infra.yaml: source.url_env: {variable} names the SQLite file {name!r}, which does not exist")


def _has_private_columns() -> bool:
    return any(private(schema, schema.columns) for schema in registered().schemas.values())
