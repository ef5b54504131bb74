"""Is the image what was judged, and does it keep to gates.yaml? Asked of a running container, before any push."""

import json
import math
import time

import numpy as np
from numpy.typing import NDArray

from ..config import gates, infra
from ..verdict import Check
from . import golden
from .build import tag
from .container import DEPLOYMENT, Container, running
from .engine import RUNNERS, call, engine

REQUESTS, WARM = 300, 20  # one row each; the first are not timed
STARTS = 3  # at most, where it takes too long


def verify(image: str | None = None) -> list[Check]:
    """Start the image of this training, or the one given, and hold it against the block `image` of gates.yaml."""
    name, limits, known = image or tag(), gates().image, golden.read()
    program = engine(RUNNERS)
    size = float(call(program, "image", "inspect", "--format", "{{.Size}}", name)) / 1e6
    user = call(program, "image", "inspect", "--format", "{{.Config.User}}", name).partition(":")[0]
    with running(name) as container:
        apart = _apart(container, known)
        p95 = _p95(container, known)
        memory = container.memory
        crowded = _crowded(container, known)
    ready = _ready(container.ready, limits.ready_s, name)
    return [
        _within("golden predictions", apart, limits.parity, "farthest from the offline predictions"),
        _within("latency p95", p95, limits.latency_p95_ms, "ms for one row"),
        crowded,
        _within("size", size, limits.size_mb, "MB uncompressed"),
        _within("memory", memory, limits.memory_mb, "MB held after the requests"),
        _within("cold start", ready, limits.ready_s, "s until ready"),
        Check(name="user", result="block" if user in ("", "0", "root") else "pass", why=f"runs as {user or 'root'}"),
    ]


def _within(name: str, figure: float, limit: float, unit: str) -> Check:
    good = figure <= limit  # NaN is not
    why = f"{figure:.3g} {unit}" if good else f"{figure:.3g} {unit}: more than gates.yaml allows under image"
    known = figure if math.isfinite(figure) else None
    return Check(name=name, result="pass" if good else "block", figure=known, limit=limit, why=why)


def _apart(container: Container, known: golden.Golden) -> float:
    answer = np.asarray(json.loads(container.post("/predict", known.many))["scores"], dtype=np.float64)
    return float(np.abs(answer - known.scores).max()) if answer.shape == known.scores.shape else float("inf")


def _crowded(container: Container, known: golden.Golden) -> Check:
    """Ask for as much at once as infra.yaml lets in: all must be answered, rightly, with the memory that there is."""
    serving = infra().serving
    clients, rows = serving.max_concurrency, serving.max_rows
    answers = container.crowd("/predict", known.repeated(rows), clients)
    expected = np.resize(known.scores, rows)
    good = sum(bool(said) and _same(json.loads(said)["scores"], expected) for said in answers)
    why = f"{good} of {clients} requests of {rows:,} rows at once answered"
    if good < clients:
        why += f": {DEPLOYMENT} grants less than infra.yaml lets in under serving"
    return Check(name="load", result="pass" if good == clients else "block", figure=good, limit=clients, why=why)


def _same(scores: list[float], expected: NDArray[np.float32]) -> bool:
    parity = gates().image.parity
    return len(scores) == len(expected) and bool(np.abs(np.asarray(scores) - expected).max() <= parity)


def _ready(first: float, limit: float, image: str) -> float:
    """Start it again while it took too long: what else the machine does only ever adds to a start."""
    least, tries = first, 1
    while least > limit and tries < STARTS:
        with running(image) as container:
            least, tries = min(least, container.ready), tries + 1
    return least


def _p95(container: Container, known: golden.Golden) -> float:
    times = []
    for _ in range(WARM + REQUESTS):
        begin = time.perf_counter()
        container.post("/predict", known.one)
        times.append(time.perf_counter() - begin)
    return float(np.quantile(times[WARM:], 0.95)) * 1000
