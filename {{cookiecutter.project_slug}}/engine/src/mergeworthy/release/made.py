"""The release that is being made: the image in the registry, and the model on disk that is in it."""

import os

from pydantic import TypeAdapter, ValidationError

from ..adapters import dvc_files
from ..container import content
from ..container.build import tag
from ..errors import UserError
from ..files import md5
from ..paths import DATA_DVC, LOCK
from ..tracking.record import verdict
from . import registry
from .overlay import Release

HANDED = TypeAdapter(Release)


def release() -> Release:
    """Read it, or take it from RELEASE, which another job handed over.

    Raise `UserError` where the image was not published, or nothing judged this model.
    """
    if handed := os.environ.get("RELEASE"):
        try:
            return HANDED.validate_json(handed)
        except ValidationError:
            raise UserError(
                f"RELEASE is {handed[:80]!r}, and not what `make publish` hands over: unset it to release what is here"
            ) from None
    image, lock = tag(), md5(LOCK)
    digest, outcome = registry.digest(image), verdict(lock)
    if digest is None:
        raise UserError(f"{image} is not in the registry: run `make publish` first")
    if outcome is None:
        raise UserError("reports/verdict.json is not about this model: run `make gate` first")
    if outcome == "block":
        raise UserError("the gate blocks this model, so it is not released: reports/verdict.md says why")
    return Release(
        repository=image.rpartition(":")[0],
        digest=digest,
        commit=content.commit() or "",
        lock=lock,
        data=dvc_files.data(dvc_files.read(LOCK), str(LOCK)),
        partition=max(dvc_files.partitions(dvc_files.read(DATA_DVC)), default="unknown"),
        verdict=outcome,
    )
