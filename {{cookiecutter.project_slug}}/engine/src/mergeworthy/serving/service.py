"""The service for BentoML: the same `models/model.onnx` that the gate has judged, behind the API of `app.py`.

The API is a small ASGI application, mounted, because BentoML's own endpoints cost half the throughput. BentoML adds
health, readiness, metrics, packaging, and the page at `/`. `python -m mergeworthy.serving.service` runs it
(`server.py`).
"""

import bentoml
from starlette.applications import Starlette

from ..errors import run

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
    """Scores rows of the main table, each as of its own moment."""

    def __init__(self) -> None:
        # Imported only here: `bentoml build` loads this file too, without a model.
        from .app import start

        self._started = start(api)

    @bentoml.on_shutdown
    def close(self) -> None:
        """Write what the prediction log still holds."""
        self._started.log.close()


if __name__ == "__main__":
    from .server import main

    run(lambda: main(Service, api))
