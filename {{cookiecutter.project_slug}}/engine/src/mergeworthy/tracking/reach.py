"""Can a run be recorded? Asked before anything trains, so without waiting for MLflow's import or its retries."""

import importlib.util
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..process import Deadline, SilentError, shown, within
from .server import TrackingError, connected, quiet, spoken

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
