"""A database: one SELECT per table, through SQLAlchemy."""

import os
from collections.abc import Callable
from typing import TypeVar

import polars as pl
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from ...contract import private
from ...errors import UserError
from ...ml.schema import TABLES
from ...outside import Deadline, SilentError, within
from ...paths import partition
from ...settings import SqlSource
from .casting import conform

WHO = "the database"
Result = TypeVar("Result")


class Sql:
    """The queries of infra.yaml, with the partition's name bound to `:partition`.

    The database's address stays in its environment variable; no error repeats its password.
    """

    def __init__(self, settings: SqlSource) -> None:
        self._settings = settings
        if odd := sorted(TABLES.keys() ^ settings.queries.keys()):
            told = "has no query for" if odd[0] in TABLES else "has a query that the contract does not know:"
            raise UserError(f"infra.yaml: source.queries {told} {odd[0]}, the tables are {', '.join(TABLES)}")
        self._url = os.environ.get(settings.url_env, "")
        try:
            self._password = str(make_url(self._url).password or "")
            self._engine = create_engine(self._url)
        except Exception:  # noqa: BLE001, the error's own words may hold the password
            raise UserError(
                f"infra.yaml: source.url_env: the environment variable {settings.url_env} must hold the address of a "
                "database whose driver is installed, such as postgresql://user:password@host/name"
            ) from None

    def partitions(self) -> list[str]:
        """List the first column of the query `source.partitions`."""
        query = text(self._settings.partitions)
        names = self._ask("infra.yaml: source.partitions", lambda there: [str(row[0]) for row in there.execute(query)])
        return sorted(partition(name, "infra.yaml: source.partitions") for name in names)

    def read(self, partition: str) -> dict[str, pl.DataFrame]:
        """Run each table's query; raise `UserError` naming the one that fails."""
        return {table: self._read(partition, table) for table in TABLES}

    def _read(self, partition: str, table: str) -> pl.DataFrame:
        bound = {"parameters": {"partition": partition}}
        query = text(self._settings.queries[table])
        rows = self._ask(
            f"{partition}/{table}: source.queries.{table}",
            lambda there: pl.read_database(query, there, infer_schema_length=None, execute_options=bound),
        )
        return conform(f"{partition}/{table}", rows, TABLES[table])

    def _ask(self, what: str, question: Callable[[Connection], Result]) -> Result:
        """Return the answer to one question; raise `UserError` naming `what` if the database refuses or is silent."""
        try:
            connection = within(Deadline.ANSWER, WHO, self._engine.connect)

            def answer() -> Result:
                with connection:  # closed by the thread that waits for it: closing one that is silent would wait too
                    return question(connection)

            return within(Deadline.EXCHANGE, WHO, answer)
        except SilentError as error:
            raise UserError(f"{what} failed: {error}") from None
        except Exception as error:  # noqa: BLE001, drivers raise their own kinds
            told = str(getattr(error, "orig", None) or error).split("\n", 1)[0]
            if not isinstance(error, OperationalError | ProgrammingError) and _any_private():
                told = f"{type(getattr(error, 'orig', None) or error).__name__}; its words may hold private values"
            raise UserError(
                f"{what} failed: {told.replace(self._password, '***') if self._password else told}"
            ) from None


def _any_private() -> bool:
    return any(private(schema, schema.columns) for schema in TABLES.values())
