"""Scores of a model on the holdout; a model that cannot be run there is told in one sentence."""

import numpy as np
import polars as pl

from ... import ml
from ...errors import UserError
from ...holdout import session
from ...paths import MODEL
from ...stats.bootstrap import Floats
from .champion import Champion, fetch


def challenger(model: bytes, table: pl.DataFrame) -> Floats:
    """Score the model that is to be judged; shape (N,)."""
    try:
        return _score(model, table)
    except KeyError as missing:
        raise UserError(f"{MODEL} reads the feature {missing}, which features/ lacks: run `make pipeline`") from None
    except Exception as error:  # noqa: BLE001 - whatever the runtime raises, there is nothing to judge
        raise UserError(f"{MODEL} cannot be run ({_first_line(error)}): run `make pipeline`") from None


def champion(found: Champion, table: pl.DataFrame) -> Floats:
    """Fetch the champion and score it with today's features; shape (N,)."""
    model, name = fetch(found), f"the champion's model (commit {found.commit[:12]})"
    try:
        score = _score(model, table)
    except KeyError as missing:
        raise UserError(
            f"{name} reads the feature {missing}, which today's features lack: "
            "keep it in ml/features.py until the new model is merged, and remove it then"
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever the runtime raises, the champion is unreadable
        raise UserError(
            f"{name} cannot be run on today's features ({_first_line(error)}): keep their types as it knows them"
        ) from None
    if not np.isfinite(score).all():
        raise UserError(
            f"{name} gives scores that are not finite on today's features: revert main to one that does not"
        )
    return score


def _score(model: bytes, table: pl.DataFrame) -> Floats:
    return np.asarray(ml.predict(session(model), table), np.float64).reshape(-1)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
