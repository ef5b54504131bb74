"""The service under BentoML: the same `models/model.onnx` that evaluation and gate judged, behind `serving/`'s API.

The API is a small ASGI application, mounted, because BentoML's own endpoints cost half the throughput. BentoML gives
health, readiness, metrics, packaging, and the page at `/`.
"""

import gc

import bentoml
from starlette.applications import Starlette

from . import settings
from .holdout import session
from .ml.schema import TABLES
from .paths import MODEL, ONLINE
from .serving import identity
from .serving.app import Predictions, fill
from .serving.contract import asked, private, request
from .serving.log import Log
from .serving.metrics import ModelMetrics
from .serving.scorer import Batcher, Scorer
from .serving.store import Embedded

SCHEMA = next(iter(TABLES.values()))
LATENCY_BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]  # seconds

api = Starlette()


@bentoml.service(
    name="model",
    metrics={"duration": {"buckets": LATENCY_BUCKETS}},
    logging={"access": {"enabled": False}},  # a line per request costs a third of the throughput; metrics count them
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(api)
class Service:
    """Scores rows of the main table as known at their own moment."""

    def __init__(self) -> None:
        limits, known = settings.infra().serving, identity.read()
        store = Embedded(ONLINE, (SCHEMA.metadata or {}).get("time"))
        accepted = request(SCHEMA, limits.max_rows)
        logged = [name for name in asked(SCHEMA) if name not in private(SCHEMA)]
        self.log = Log(limits.log, known.labels(), logged)
        batcher = Batcher(Scorer(session(MODEL.read_bytes()), store, SCHEMA))
        predictions = Predictions(accepted, batcher, self.log, ModelMetrics(known, store.until), limits)
        fill(api, predictions, accepted, known)
        # What a start has made stays. Searched for garbage again, it held up all requests for a tenth of a second.
        gc.collect()
        gc.freeze()

    @bentoml.on_shutdown
    def close(self) -> None:
        """Write what the log still holds."""
        self.log.close()
