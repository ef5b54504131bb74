"""MLflow's client without its noise, its errors as sentences, and a check that the server can be used."""

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
from ..process import Deadline, Patient, SilentError, proxy, shown, within

# DOC tracking.server: MLflow's client without its noise, and its errors as sentences.

if TYPE_CHECKING:
    from mlflow import MlflowClient

Result = TypeVar("Result")
LONG = 300  # characters; MLflow's messages can hold whole requests
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


class TrackingError(UserError):
    """The tracking server is down, refuses or failed; what was trained is not lost by it."""


def quiet() -> None:
    """Before MLflow is imported: no telemetry, no log lines, and none of its minutes of retrying."""
    # An upload's answer may take that long; a dead server is noticed before.
    for name, value in {**QUIET, "MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(Deadline.ANSWER.seconds))}.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def connected(uri: str) -> "Iterator[MlflowClient]":
    """Yield MLflow's client for `uri`, whose calls have a deadline; whatever fails is a `TrackingError` of one line."""
    import mlflow

    with spoken(uri):
        mlflow.set_tracking_uri(uri)
        client = answered(uri, lambda: mlflow.MlflowClient(uri))
        yield cast("MlflowClient", Patient(client, _who(uri), Deadline.EXCHANGE))


def answered(uri: str, call: Callable[[], Result]) -> Result:
    """Return what a call of MLflow's own gives; raise `SilentError` if the server at `uri` does not answer it."""
    return within(Deadline.EXCHANGE, _who(uri), call)


def _who(uri: str) -> str:
    return shown(f"the tracking server {uri}")


@contextmanager
def spoken(uri: str) -> Iterator[None]:
    """Turn what MLflow and the libraries below it raise into a `TrackingError`."""
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
    """Make Ctrl-C and CI's cancelling a `KeyboardInterrupt` at once.

    polars handles Ctrl-C in a way that restarts system calls: it would wait for a server that does not answer.
    """
    handlers = {end: signal.signal(end, signal.default_int_handler) for end in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for end, handler in handlers.items():
            signal.signal(end, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """Let an interruption wait until what was begun is done, then raise it: for a request whose answer is needed."""
    waiting: list[int] = []
    ends = (signal.SIGINT, signal.SIGTERM)
    handlers = {end: signal.signal(end, lambda number, _: waiting.append(number)) for end in ends}
    try:
        yield
    finally:
        for end, handler in handlers.items():
            signal.signal(end, handler)
    if waiting:
        raise KeyboardInterrupt


def explained(uri: str, error: Exception) -> str:
    """One sentence, without credentials, on what went wrong at `uri`."""
    if isinstance(error, urllib.error.URLError | ConnectionError | TimeoutError):
        reason = getattr(error, "reason", error)
        what = f"does not answer ({reason}){proxy(uri)}: start it, or name another by MLFLOW_TRACKING_URI or infra.yaml"
    else:
        text = " ".join(str(error).split())
        what = f"failed ({type(error).__name__}: {text if len(text) < LONG else text[:LONG] + '…'}){proxy(uri)}"
    return shown(f"the tracking server {uri} {what}")


# DOC tracking.reach: Can a run be recorded? Asked before anything trains, so without waiting for MLflow's import or
# its retries.

OK, ABSENT = 200, 404


def reach(uri: str, experiment: str | None = None) -> None:
    """Raise `TrackingError` in at most some 5 s if nothing at `uri` can record a run. Does not import MLflow.

    With `experiment`, also if that lies in MLflow's trash: it would refuse the run after all stages.
    """
    if not importlib.util.find_spec("mlflow"):
        raise TrackingError("mlflow is not installed: run `make setup`")
    quiet()
    scheme = uri.partition(":")[0].partition("+")[0]
    with spoken(uri):
        if scheme in ("http", "https"):
            _ask(uri, experiment)
        elif scheme in ("sqlite", "postgresql", "mysql", "mssql"):
            within(Deadline.ANSWER, shown(f"the tracking database {uri}"), lambda: _query(uri, experiment))
        elif scheme == "file" or (":" not in uri and uri != "databricks"):
            raise ValueError("MLflow 3 no longer writes folders, use sqlite:///mlflow.db")


def _ask(uri: str, experiment: str | None) -> None:
    """Ask over HTTP; if credentials or certificates are wanted, MLflow's own client brings them."""
    at = shown(uri).rstrip("/") + "/api/2.0/mlflow/experiments/"
    request = f"{at}get-by-name?experiment_name={quote(experiment)}" if experiment else f"{at}search?max_results=1"

    def told() -> tuple[int, bytes]:
        """Return the status and, if it is JSON, the body."""
        try:
            with urllib.request.urlopen(request, timeout=Deadline.GLANCE.seconds) as answer:  # noqa: S310 (the caller saw that it is http)
                return OK, answer.read() if answer.headers.get_content_type() == "application/json" else b""
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    try:
        status, body = within(Deadline.GLANCE, uri, told)
    except SilentError:
        raise TimeoutError("timed out") from None  # which `spoken` explains
    if status == OK and body:
        found = json.loads(body).get("experiment") or {}
        _require_active(uri, experiment, found.get("experiment_id"), found.get("lifecycle_stage"))
        return
    if status == ABSENT and b"RESOURCE_DOES_NOT_EXIST" in body:
        return  # the first run creates the experiment
    with connected(uri) as client:
        if experiment is None:
            client.search_experiments(max_results=1)
        elif known := client.get_experiment_by_name(experiment):
            _require_active(uri, experiment, known.experiment_id, known.lifecycle_stage)


def _query(uri: str, experiment: str | None) -> None:
    import sqlalchemy

    url = sqlalchemy.make_url(uri)
    served = url.get_backend_name() in ("postgresql", "mysql")
    if served or (url.database and Path(url.database).exists()):  # MLflow makes the file
        limit = {"connect_timeout": round(Deadline.GLANCE.seconds)} if served else {}
        engine = sqlalchemy.create_engine(url, connect_args=limit)
        try:
            tables = set(sqlalchemy.inspect(engine).get_table_names())
            with engine.connect() as connection:
                asked = sqlalchemy.text("SELECT version_num FROM alembic_version")
                versions = connection.execute(asked).scalars().all() if "alembic_version" in tables else []
                _require_schema(uri, tables, versions)
                if experiment and "experiments" in tables:
                    asked = sqlalchemy.text("SELECT experiment_id, lifecycle_stage FROM experiments WHERE name = :name")
                    for number, stage in connection.execute(asked, {"name": experiment}):
                        _require_active(uri, experiment, number, stage)
        except sqlalchemy.exc.OperationalError as error:
            raise ConnectionError(error.orig) from error
        finally:
            engine.dispose()


def _require_schema(uri: str, tables: set[str], versions: Iterable[str]) -> None:
    """Raise `TrackingError` unless the database is empty of MLflow's tables, or has them as this MLflow wants them."""
    found, wanted = sorted(versions), _schema()
    if (found or "experiments" in tables) and found != [wanted]:
        raise TrackingError(
            f"the tracking database {shown(uri)} has the schema {', '.join(found) or 'of another program'}, and the "
            f"MLflow that is installed wants {wanted}: back it up and run `.venv/bin/mlflow db upgrade` with its "
            "address, or name another one under tracking.uri in infra.yaml"
        )


def _schema() -> str:
    """Return the newest version of MLflow's schema, read from its migrations: importing them takes seconds."""
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
