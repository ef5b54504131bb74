"""What a process that answers is made of; the process that only starts and watches it never loads this."""

import gc

from starlette.applications import Starlette

from .. import settings
from ..holdout import load
from ..ml.schema import TABLES
from ..paths import ONLINE
from . import identity
from .app import Predictions, fill
from .contract import asked, private, request
from .log import Log
from .metrics import ModelMetrics
from .scorer import Batcher, Scorer
from .store import Embedded

SCHEMA = next(iter(TABLES.values()))


def start(api: Starlette) -> Log:
    """Load the model, add its routes to `api`, and give the log that is to be closed at the end."""
    limits, known = settings.infra().serving, identity.read()
    store = Embedded(ONLINE, (SCHEMA.metadata or {}).get("time"))
    accepted = request(SCHEMA, limits.max_rows)
    logged = [name for name in asked(SCHEMA) if name not in private(SCHEMA)]
    log = Log(limits.log, known.labels(), logged)
    batcher = Batcher(Scorer(load(), store, SCHEMA))
    predictions = Predictions(accepted, batcher, log, ModelMetrics(known, store.until), limits)
    fill(api, predictions, accepted, known)
    # What a start has made stays. Searched for garbage again, it held up all requests for a tenth of a second.
    gc.collect()
    gc.freeze()
    return log
