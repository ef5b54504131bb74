"""Loads the model and connects the parts of the service; only a process that answers imports it."""

import gc
from dataclasses import dataclass
from functools import cache

import onnxruntime as ort
from pandera.polars import DataFrameSchema
from starlette.applications import Starlette

from .. import config as settings
from .. import examples
from ..artifact import inputs, load
from ..data.contract import private_columns, requested
from ..errors import UserError
from ..files import ONLINE
from ..project import full_name, registered
from ..text import say
from .app import IdentityHeaders, Predictions, add_routes, required_token
from .identity import ModelMetrics, read_identity
from .log import Log
from .schema import arrays, request
from .schema import columns as as_columns
from .scorer import HOW_TO_FIX, Batcher, EmbeddedStore, OnlineStore, Scorer

TRIAL_ROWS = 3  # several, because an array of one row hides a wrong shape


@dataclass(frozen=True)
class StartedService:
    """The route `/predict`, the log, which has to be closed at the end, and the version that metrics name."""

    predictions: Predictions
    predict: IdentityHeaders
    log: Log
    version: str


@cache
def start(api: Starlette) -> StartedService:
    """Load the model and add its routes to `api`, once; raise `UserError` if the model cannot be served."""
    limits, identity, schema = settings.infra().serving, read_identity(), registered().schema
    token = required_token()
    store, session = _store(), load()  # before metrics are registered, which cannot be done twice
    _try_features(session, store, schema)
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
    return StartedService(predictions, IdentityHeaders(predictions, identity), log, identity.lock[:12])


def _try_features(session: ort.InferenceSession, store: OnlineStore, schema: DataFrameSchema) -> None:
    """Compute the model's inputs for rows made from the contract; raise `UserError` if a request could not be scored.

    Otherwise a mistake in `Online.derive` would show as a failure of the first request.
    """
    try:
        rows = examples.requests(schema, TRIAL_ROWS)
    except UserError as error:
        say(f"the features are not tried before the first request: {error}")
        return
    columns = arrays(schema, as_columns(schema, rows))
    columns |= store.lookup(columns)
    project = registered()
    columns |= project.derive_arrays(columns, len(rows))
    if missing := [name for name in inputs(session) if name not in columns]:
        derive = f"{full_name(project.online.derive)} does not return it" if project.online else "Project(online=None)"
        raise UserError(
            f"the model reads {missing[0]}, which a request cannot provide: it is no column of {project.main} that is "
            f"known before the event, no history has it, and {derive}"
        )


def _store() -> EmbeddedStore:
    try:
        return EmbeddedStore(ONLINE, (registered().schema.metadata or {}).get("time"))
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file shows in many ways
        raise UserError(f"{ONLINE} cannot be read: {_first_line(error)}: {HOW_TO_FIX}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
