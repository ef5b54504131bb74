"""MLflow mirrors each trained model once, as a whole run or not at all. Git stays the record."""

import sys

from ..config import infra
from ..errors import UserError
from ..paths import LOCK, METRICS, MODEL, TRAINING
from ..text import say
from .browse import browse
from .reach import reach
from .server import TrackingError

__all__ = ["TrackingError", "browse", "check", "log"]


def check() -> None:
    """Ask before anything trains; raise where no run can be recorded, or warn where infra.yaml does not require it."""
    tracking = infra().tracking
    try:
        reach(tracking.address, tracking.experiment)
    except TrackingError as error:
        _missed(error, required=tracking.required)


def log() -> None:
    """Mirror the run that `dvc.lock` describes, unless it is there or its files are not on disk."""
    absent = [path for path in (LOCK, MODEL, METRICS, TRAINING) if not path.exists()]
    if absent:
        say(f"nothing trained here ({absent[0]} is not on disk), so nothing to record")
        return
    tracking = infra().tracking
    try:
        reach(tracking.address, tracking.experiment)
        from .mirror import mirror  # MLflow takes seconds to import; only those who record a run wait for it

        say(mirror(tracking.address, tracking.experiment))
    except TrackingError as error:
        _missed(error, required=tracking.required)


def _missed(error: UserError, *, required: bool) -> None:
    if required:
        raise error
    say(f"warning: {error}; the run goes unrecorded, as tracking.required is false in infra.yaml", file=sys.stderr)
