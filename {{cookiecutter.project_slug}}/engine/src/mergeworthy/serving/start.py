"""What a process that answers is made of; what only packs or describes the service never loads this."""

import gc
from dataclasses import dataclass
from functools import cache

from starlette.applications import Starlette

from .. import config as settings
from ..artifact import load
from ..data.contract import private_columns, requested
from ..errors import UserError
from ..paths import ONLINE
from ..project import registered
from . import identity
from .app import Predictions, fill, token
from .identity import ModelMetrics
from .log import Log
from .schema import request
from .scorer import Batcher, Embedded, Scorer


@dataclass(frozen=True)
class Running:
    """What a started service holds: the log, which is to be closed at the end, and the version that metrics name."""

    log: Log
    version: str


@cache
def start(api: Starlette) -> Running:
    """Load the model and add its routes to `api`, once; raise `UserError` if the model cannot be served."""
    limits, known = settings.infra().serving, identity.read()
    secret = token()
    store, session = _store(), load()  # before anything is registered, which cannot be done twice
    accepted = request(registered().schema, limits.max_rows)
    logged = [name for name in requested(registered().schema) if name not in private_columns(registered().schema)]
    metrics = ModelMetrics(known, store.until)
    batcher = Batcher(Scorer(session, store, registered().schema))
    log = Log(limits.log, known.labels(), logged, metrics.lost.inc)
    predictions = Predictions(accepted, registered().schema, batcher, log, metrics, limits, secret)
    fill(api, predictions, accepted, known, guarded=secret is not None)
    # What a start has made stays. Searched for garbage again, it held up all requests for a tenth of a second.
    gc.collect()
    gc.freeze()
    return Running(log, known.lock[:12])


def _store() -> Embedded:
    try:
        return Embedded(ONLINE, (registered().schema.metadata or {}).get("time"))
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file shows in many ways
        raise UserError(f"{ONLINE} cannot be read: {_first(error)}: run `make pipeline`") from None


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
