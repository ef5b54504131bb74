"""Closed segments of the prediction log are copied to object storage; a copy that is there is left alone."""

import sys
from collections.abc import Iterable
from pathlib import Path

from ..settings import PredictionLog


def ship(settings: PredictionLog, segments: Iterable[Path]) -> None:
    """Copy to `settings.url`, if there is one. A store that is down is a warning: the segments stay where they are."""
    if not settings.url:
        return
    import fsspec  # only who ships needs it

    for path in segments:
        try:
            files, folder = fsspec.url_to_fs(settings.url, **settings.options)
            target = f"{folder.rstrip('/')}/{path.name}"
            if not files.exists(target) or files.size(target) != path.stat().st_size:
                files.makedirs(folder, exist_ok=True)
                files.put_file(str(path), target)
        except Exception as error:  # noqa: BLE001, each store raises its own kind
            print(f"warning: {path.name} was not copied to {settings.url}: {error}", file=sys.stderr, flush=True)
