"""A database: one SELECT per table, through SQLAlchemy."""

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
from ..paths import partition
from ..process import Deadline, SilentError, within
from ..project import registered
from .contract import private
from .types import conform

WHO = "the database"
WITHOUT_VALUES = (OperationalError, ProgrammingError, pl.exceptions.DuplicateError)  # what they say is about names
Result = TypeVar("Result")


class Sql:
    """The queries of infra.yaml, with the partition's name bound to `:partition`.

    The database's address stays in its environment variable; no error repeats its password.
    """

    def __init__(self, settings: SqlSource) -> None:
        self._settings = settings
        if odd := sorted(registered().schemas.keys() ^ settings.queries.keys()):
            told = (
                "has no query for" if odd[0] in registered().schemas else "has a query that the contract does not know:"
            )
            raise UserError(
                f"infra.yaml: source.queries {told} {odd[0]}, the tables are {', '.join(registered().schemas)}"
            )
        if not re.fullmatch(r"[A-Za-z_]\w*", settings.url_env, re.ASCII):  # maybe the address, so it is not shown
            raise UserError(
                "infra.yaml: source.url_env must be the name of an environment variable, such as DATABASE_URL, that "
                "holds the database's address, and never the address itself"
            )
        self._url = os.environ.get(settings.url_env, "")
        try:
            address = make_url(self._url)
            self._password = str(address.password or "")
            self._engine = create_engine(self._url)
        except Exception:  # noqa: BLE001, the error's own words may hold the password
            raise UserError(
                f"infra.yaml: source.url_env: the environment variable {settings.url_env} must hold the address of a "
                "database whose driver is installed, such as postgresql://user:password@host/name"
            ) from None
        _refuse_new(address, settings.url_env)

    def partitions(self) -> list[str]:
        """List the first column of the query `source.partitions`."""
        query = text(self._settings.partitions)
        names = self._ask("infra.yaml: source.partitions", lambda there: [row[0] for row in there.execute(query)])
        if None in names:
            raise UserError("infra.yaml: source.partitions returns null: leave it out, as with `where … is not null`")
        return sorted({partition(str(name), "infra.yaml: source.partitions") for name in names})

    def read(self, partition: str) -> dict[str, pl.DataFrame]:
        """Run each table's query; raise `UserError` naming the one that fails."""
        return {table: self._read(partition, table) for table in registered().schemas}

    def _read(self, partition: str, table: str) -> pl.DataFrame:
        bound = {"parameters": {"partition": partition}}
        query = text(self._settings.queries[table])
        rows = self._ask(
            f"{partition}/{table}: source.queries.{table}",
            lambda there: pl.read_database(query, there, infer_schema_length=None, execute_options=bound),
        )
        return conform(f"{partition}/{table}", rows, registered().schemas[table])

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
            if isinstance(error, ResourceClosedError) or "'description'" in told:  # SQLAlchemy's word, and polars'
                raise UserError(f"{what} returns no table: it must be one SELECT") from None
            if not isinstance(error, WITHOUT_VALUES) and _any_private():
                told = f"{type(getattr(error, 'orig', None) or error).__name__}; its words may hold private values"
            raise UserError(
                f"{what} failed: {told.replace(self._password, '***') if self._password else told}"
            ) from None


def _refuse_new(address: URL, variable: str) -> None:
    """Raise `UserError` for a database that SQLite would make, empty, as it is not there."""
    name = address.database or ":memory:"
    if address.get_backend_name() == "sqlite" and not name.startswith("file:") and not Path(name).is_file():
        raise UserError(f"infra.yaml: source.url_env: {variable} names the SQLite file {name!r}, which is not there")


def _any_private() -> bool:
    return any(private(schema, schema.columns) for schema in registered().schemas.values())
