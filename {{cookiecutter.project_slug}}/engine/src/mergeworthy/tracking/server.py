"""MLflow's client without its noise, and its errors as sentences."""

import logging
import math
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from ..errors import UserError
from ..process import Deadline, Patient, SilentError, proxy, shown, within

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
