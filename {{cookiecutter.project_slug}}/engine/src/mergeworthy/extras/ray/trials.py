"""A sweep's trials on the cluster, as many at once as it has room for."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import ray

from ... import config as settings
from ...errors import UserError
from ...project import PYPROJECT
from ..sweep.trial import Split, fit
from .cluster import PATIENCE, connected, need, places
from .luggage import Luggage, pack, unpack

Key = TypeVar("Key")
LOOK = 10  # seconds between two looks at what is left of the cluster


def tried(
    asked: Iterator[tuple[Key, dict[str, Any]]], data: Split, infra: settings.Infra, wanted: settings.Ray
) -> Iterator[tuple[Key, tuple[dict[str, float], float]]]:
    """Each key with what `fit` gives for its parameters, in the order in which they are done.

    Ray itself makes a trial again whose machine is lost. Raises `UserError` where one fails, or none is left to run it.
    """
    needed, possible = need(infra.compute, wanted), time.monotonic()
    running: dict[Any, Key] = {}
    with connected(wanted):
        luggage = pack([PYPROJECT, settings.INFRA, *data.training, data.measured])
        remote = ray.remote(_try).options(num_cpus=needed["CPU"], num_gpus=needed.get("GPU", 0))
        while True:
            found = places(needed)
            for key, params in islice(asked, max(found - len(running), 1 - len(running), 0)):
                running[remote.remote(luggage, params, data)] = key
            if not running:
                return
            possible = time.monotonic() if found else possible
            if time.monotonic() - possible > PATIENCE:
                raise UserError(f"no machine of the Ray cluster has {needed} for a trial")
            for done in ray.wait(list(running), timeout=LOOK)[0]:
                yield running.pop(done), ray.get(done)


def _try(luggage: Luggage, params: dict[str, Any], data: Split) -> tuple[dict[str, float], float]:
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        unpack(luggage, Path())
        return fit(params, data)
