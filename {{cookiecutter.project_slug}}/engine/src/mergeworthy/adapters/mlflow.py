"""MLflow's client: quiet, with deadlines, errors as one sentence, and a check that the server can record a run.

The check runs before anything trains, so it waits neither for MLflow's import nor for its retries.
"""

import importlib.util
import json
import logging
import math
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote

from ..errors import UserError
from ..process import Deadline, Patient, SilentError, on_interruption, proxy, shown, within

if TYPE_CHECKING:
    from mlflow import MlflowClient

Result = TypeVar("Result")
MESSAGE_LENGTH = 300  # characters; MLflow's messages can hold whole requests
HTTP_OK, HTTP_NOT_FOUND = 200, 404
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


class TrackingError(UserError):
    """The tracking server is down, refuses or failed; the training itself is not lost."""


def quiet() -> None:
    """Switch off MLflow's telemetry, log lines and minutes of retries; to be called before MLflow is imported."""
    # The answer to an upload may take that long; `reach` finds a server that is down earlier.
    for name, value in {**QUIET, "MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(Deadline.ANSWER.seconds))}.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def connected(uri: str) -> "Iterator[MlflowClient]":
    """Yield MLflow's client for `uri`, whose calls have a deadline; whatever fails is a `TrackingError` of one line."""
    import mlflow

    with translated_errors(uri):
        mlflow.set_tracking_uri(uri)
        client = answered(uri, lambda: mlflow.MlflowClient(uri))
        yield cast("MlflowClient", Patient(client, _server_name(uri), Deadline.EXCHANGE))


def answered(uri: str, call: Callable[[], Result]) -> Result:
    """Return the result of a call of MLflow; raise `SilentError` if the server at `uri` does not answer in time."""
    return within(Deadline.EXCHANGE, _server_name(uri), call)


def _server_name(uri: str) -> str:
    return shown(f"the tracking server {uri}")


@contextmanager
def translated_errors(uri: str) -> Iterator[None]:
    """Raise what MLflow and its libraries raise as a `TrackingError`."""
    try:
        yield
    except SilentError as error:
        raise TrackingError(str(error)) from None
    except UserError:
        raise
    except Exception as error:
        raise TrackingError(explained(uri, error)) from error


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at once on Ctrl-C and on CI's cancelling.

    polars handles Ctrl-C in a way that restarts system calls, so a call would wait for a server that does not answer.
    """
    with on_interruption(signal.default_int_handler):
        yield


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Defer an interruption until the block is done, then raise it: for a request whose answer is needed."""
    received: list[int] = []
    with on_interruption(lambda number, _: received.append(number)):
        yield
    if received:
        raise KeyboardInterrupt


def explained(uri: str, error: Exception) -> str:
    """Return one sentence, without credentials, on what went wrong at `uri`."""
    if isinstance(error, urllib.error.URLError | ConnectionError | TimeoutError):
        reason = getattr(error, "reason", error)
        remedy = "start it, or name another by MLFLOW_TRACKING_URI or infra.yaml"
        problem = f"does not answer ({reason}){proxy(uri)}: {remedy}"
    else:
        message = " ".join(str(error).split())
        if len(message) >= MESSAGE_LENGTH:
            message = message[:MESSAGE_LENGTH] + "…"
        problem = f"failed ({type(error).__name__}: {message}){proxy(uri)}"
    return shown(f"the tracking server {uri} {problem}")


def reach(uri: str, experiment: str | None = None) -> None:
    """Raise `TrackingError` within about 5 s if `uri` cannot record a run. Do not import MLflow.

    With `experiment`, raise it also if MLflow's trash has the experiment: it would refuse the run after all stages.
    """
    if not importlib.util.find_spec("mlflow"):
        raise TrackingError("mlflow is not installed: run `make setup`")
    quiet()
    scheme = uri.partition(":")[0].partition("+")[0]
    with translated_errors(uri):
        if scheme in ("http", "https"):
            _check_server(uri, experiment)
        elif scheme in ("sqlite", "postgresql", "mysql", "mssql"):
            within(Deadline.ANSWER, shown(f"the tracking database {uri}"), lambda: _check_database(uri, experiment))
        elif scheme == "file" or (":" not in uri and uri != "databricks"):
            raise ValueError("MLflow 3 no longer writes folders, use sqlite:///mlflow.db")


def _check_server(uri: str, experiment: str | None) -> None:
    """Check a server over HTTP; if it needs credentials or certificates, MLflow's own client has them."""
    api = shown(uri).rstrip("/") + "/api/2.0/mlflow/experiments/"
    request = f"{api}get-by-name?experiment_name={quote(experiment)}" if experiment else f"{api}search?max_results=1"

    def status_and_body() -> tuple[int, bytes]:
        """Return the status and, if it is JSON, the body."""
        try:
            with urllib.request.urlopen(request, timeout=Deadline.GLANCE.seconds) as answer:  # noqa: S310 (the caller checked that it is http)
                return HTTP_OK, answer.read() if answer.headers.get_content_type() == "application/json" else b""
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    try:
        status, body = within(Deadline.GLANCE, uri, status_and_body)
    except SilentError:
        raise TimeoutError("timed out") from None  # which `translated_errors` explains
    if status == HTTP_OK and body:
        entry = json.loads(body).get("experiment") or {}
        _require_active(uri, experiment, entry.get("experiment_id"), entry.get("lifecycle_stage"))
        return
    if status == HTTP_NOT_FOUND and b"RESOURCE_DOES_NOT_EXIST" in body:
        return  # the first run creates the experiment
    with connected(uri) as client:
        if experiment is None:
            client.search_experiments(max_results=1)
        elif entity := client.get_experiment_by_name(experiment):
            _require_active(uri, experiment, entity.experiment_id, entity.lifecycle_stage)


def _check_database(uri: str, experiment: str | None) -> None:
    import sqlalchemy

    url = sqlalchemy.make_url(uri)
    has_server = url.get_backend_name() in ("postgresql", "mysql")
    if has_server or (url.database and Path(url.database).exists()):  # if there is no file yet, MLflow creates it
        timeout = {"connect_timeout": round(Deadline.GLANCE.seconds)} if has_server else {}
        engine = sqlalchemy.create_engine(url, connect_args=timeout)
        try:
            tables = set(sqlalchemy.inspect(engine).get_table_names())
            with engine.connect() as connection:
                statement = sqlalchemy.text("SELECT version_num FROM alembic_version")
                versions = connection.execute(statement).scalars().all() if "alembic_version" in tables else []
                _require_schema(uri, tables, versions)
                if experiment and "experiments" in tables:
                    columns = "SELECT experiment_id, lifecycle_stage FROM experiments"
                    statement = sqlalchemy.text(f"{columns} WHERE name = :name")
                    for number, stage in connection.execute(statement, {"name": experiment}):
                        _require_active(uri, experiment, number, stage)
        except sqlalchemy.exc.OperationalError as error:
            raise ConnectionError(error.orig) from error
        finally:
            engine.dispose()


def _require_schema(uri: str, tables: set[str], versions: Iterable[str]) -> None:
    """Raise `TrackingError` if the database has tables of MLflow whose schema is not that of the installed MLflow."""
    schema, required = ", ".join(sorted(versions)), _schema()
    if (schema or "experiments" in tables) and schema != required:
        raise TrackingError(
            f"the tracking database {shown(uri)} has the schema {schema or 'of another program'}, and the "
            f"MLflow that is installed wants {required}: back it up and run `.venv/bin/mlflow db upgrade` with its "
            "address, or name another one under tracking.uri in infra.yaml"
        )


def _schema() -> str:
    """Return the newest version of MLflow's schema, read from its migrations: importing these takes seconds."""
    spec = importlib.util.find_spec("mlflow")
    folder = Path(str(spec and spec.origin)).parent / "store/db_migrations/versions"
    texts = [file.read_text() for file in folder.glob("*.py")]
    names = {name for text in texts for name in re.findall(r'^revision = "(\w+)"', text, re.MULTILINE)}
    older = {name for text in texts for name in re.findall(r'^down_revision = "(\w+)"', text, re.MULTILINE)}
    newest: str
    (newest,) = names - older
    return newest


def _require_active(uri: str, experiment: str | None, number: Any, stage: str | None) -> None:
    if stage == "deleted":
        raise TrackingError(
            f"the experiment {experiment!r} lies in the trash of {shown(uri)}: bring it back by "
            f"`.venv/bin/mlflow experiments restore --experiment-id {number}`, or set another name as "
            "tracking.experiment in infra.yaml"
        )
