"""Loads the model and connects the parts of the service; only a process that answers imports it."""

import gc
from dataclasses import dataclass
from functools import cache

from starlette.applications import Starlette

from .. import config as settings
from ..artifact import load
from ..data.contract import private_columns, requested
from ..errors import UserError
from ..files import ONLINE
from ..project import registered
from .app import Predictions, add_routes, required_token
from .identity import ModelMetrics, read_identity
from .log import Log
from .schema import request
from .scorer import HOW_TO_FIX, Batcher, EmbeddedStore, Scorer


@dataclass(frozen=True)
class StartedService:
    """The log, which has to be closed at the end, and the version that metrics name."""

    log: Log
    version: str


@cache
def start(api: Starlette) -> StartedService:
    """Load the model and add its routes to `api`, once; raise `UserError` if the model cannot be served."""
    limits, identity, schema = settings.infra().serving, read_identity(), registered().schema
    token = required_token()
    store, session = _store(), load()  # before metrics are registered, which cannot be done twice
    request_type = request(schema, limits.max_rows)
    metrics = ModelMetrics(identity, store.until)
    batcher = Batcher(Scorer(session, store, schema))
    logged = [name for name in requested(schema) if name not in private_columns(schema)]
    log = Log(limits.log, identity.labels(), logged, metrics.lost.inc)
    predictions = Predictions(request_type, schema, batcher, log, metrics, limits, token)
    add_routes(api, predictions, request_type, identity, needs_token=token is not None)
    # The objects of a start live as long as the process. Collecting them again held up all requests for 0.1 s.
    gc.collect()
    gc.freeze()
    return StartedService(log, identity.lock[:12])


def _store() -> EmbeddedStore:
    try:
        return EmbeddedStore(ONLINE, (registered().schema.metadata or {}).get("time"))
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file shows in many ways
        raise UserError(f"{ONLINE} cannot be read: {_first_line(error)}: {HOW_TO_FIX}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
