"""Can a run be recorded? Asked before anything trains, so without waiting for MLflow's import or its retries."""

import importlib.util
import urllib.error
import urllib.request
from pathlib import Path

from ..outside import Deadline
from .server import TrackingError, connected, quiet, shown, spoken


def reach(uri: str) -> None:
    """Raise `TrackingError` in at most some 5 s if nothing at `uri` can record a run. Does not import MLflow."""
    if not importlib.util.find_spec("mlflow"):
        raise TrackingError("mlflow is not installed: run `make setup`")
    quiet()
    scheme = uri.partition(":")[0].partition("+")[0]
    with spoken(uri):
        if scheme in ("http", "https"):
            _ask(uri)
        elif scheme in ("sqlite", "postgresql", "mysql", "mssql"):
            _query(uri)
        elif scheme == "file" or (":" not in uri and uri != "databricks"):
            raise ValueError("MLflow 3 no longer writes folders, use sqlite:///mlflow.db")


def _ask(uri: str) -> None:
    """Any answer will do: where credentials or certificates are wanted, MLflow's own client brings them."""
    request = shown(uri).rstrip("/") + "/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        with urllib.request.urlopen(request, timeout=Deadline.GLANCE.seconds) as answer:  # noqa: S310 (the caller saw that it is http)
            if answer.headers.get_content_type() == "application/json":
                return
    except urllib.error.HTTPError:
        pass
    with connected(uri) as client:
        client.search_experiments(max_results=1)


def _query(uri: str) -> None:
    import sqlalchemy

    url = sqlalchemy.make_url(uri)
    served = url.get_backend_name() in ("postgresql", "mysql")
    if served or (url.database and Path(url.database).exists()):  # MLflow makes the file
        limit = {"connect_timeout": round(Deadline.GLANCE.seconds)} if served else {}
        engine = sqlalchemy.create_engine(url, connect_args=limit)
        try:
            sqlalchemy.inspect(engine).has_table("alembic_version")
        except sqlalchemy.exc.OperationalError as error:
            raise ConnectionError(error.orig) from error
        finally:
            engine.dispose()
