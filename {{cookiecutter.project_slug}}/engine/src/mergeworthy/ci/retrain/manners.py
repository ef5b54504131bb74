"""When a retraining is called for and nothing is done about it: somebody said so, or the last one is not long ago."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ...config import Drift

STOP = "no-retraining"  # the label; on the newest retraining pull request, open or closed


def silence(pulls: Sequence[dict[str, Any]], policy: Drift, now: datetime) -> str | None:
    """Say why nothing is to be done; None where it is. `pulls` are those that a person decided on, newest first."""
    newest = next(iter(pulls), None)
    if newest is None:
        return None
    if any(label["name"] == STOP for label in newest["labels"]):
        return f"Nothing is done: pull request {newest['number']} has the label {STOP}."
    if newest["state"] == "open" or not newest.get("closed_at"):
        return None
    over = datetime.fromisoformat(newest["closed_at"]) + timedelta(days=policy.cooldown_days)
    if now < over:
        how = "merged" if newest.get("merged_at") else "closed"
        return f"Nothing is done: pull request {newest['number']} was {how} lately, the next may come {over:%Y-%m-%d}."
    return None
