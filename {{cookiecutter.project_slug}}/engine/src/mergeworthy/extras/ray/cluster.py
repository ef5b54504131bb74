"""A connection to the cluster: made within half a minute or not at all, and closed with all that still runs for it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from ray.exceptions import RayError, RayTaskError

from ...config.infra import Compute, Ray
from ...errors import UserError

CODE = Path(__file__).parents[2]
PATIENCE = 600  # seconds to wait for room
LONG = 300  # characters of an error; Ray's can be pages


@contextmanager
def connected(wanted: Ray) -> Iterator[None]:
    """Enter the cluster with this project's code; whatever Ray raises inside is a `UserError` of one line."""
    try:
        _enter(wanted.head)
        yield
    except (RayError, ConnectionError, RuntimeError) as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        said = " ".join(str(cause).split())
        raise UserError(f"Ray at {wanted.head}: {type(cause).__name__}: {said[:LONG]}") from error
    finally:
        ray.shutdown()


def need(compute: Compute, wanted: Ray, processes: int = 1) -> dict[str, float]:
    """What so many training processes take of a machine, in Ray's words."""
    return {"CPU": compute.threads * processes} | ({"GPU": wanted.gpus * processes} if wanted.gpus else {})


def places(needed: dict[str, float]) -> int:
    """How many times the cluster's machines hold that, were they free."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(min(int(has.get(name, 0) // count) for name, count in needed.items()) for has in machines)


def _enter(address: str, tries: int = 3) -> None:
    """Connect; the process that the head starts for each client may die as it starts (seen with 2.60 on a busy one)."""
    with warnings.catch_warnings(action="ignore"):
        try:
            ray.init(address, runtime_env={"py_modules": [str(CODE)]}, logging_level="ERROR", log_to_driver=False)
        except ConnectionAbortedError:
            if tries == 1:
                raise
            _enter(address, tries - 1)
