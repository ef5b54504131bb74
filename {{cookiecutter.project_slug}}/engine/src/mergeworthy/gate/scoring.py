"""Scores on the holdout, of the model that is judged and of former commits: those with their own code and features.

A commit's recorded predictions count if the holdout and its data are what that commit was evaluated on. If they moved,
its own code builds its features of today's data and predicts. If that code and its parameters are today's, it would
build today's features, so these are taken, once they are known to be what the code builds: a person may have put other
files there (`dvc commit`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from .. import files
from ..adapters import dvc_files, git, provenance
from ..adapters.dvc_store import Store
from ..artifact import predict, session
from ..errors import UserError
from ..holdout import Holdout
from ..paths import DATA_DVC, FEATURES, LOCK, MODEL, PREDICTIONS
from ..project import registered
from ..stats.bootstrap import Floats
from .champion import Champion, fetch
from .coverage import keyed
from .own_code import LOOK_BACK, STAGES, CannotRunError, Workshop
from .partition import Data, hash_of, key

How = Literal["recorded", "same code", "own code", "todays features"]
SAID: dict[How, str] = {
    "recorded": "judged by the predictions recorded at its commit, which are of these very rows",
    "same code": "scored on this commit's features, as code and feature parameters are the same",
    "own code": "judged by its own commit's code, run on today's data",
}


@dataclass(frozen=True)
class Scored:
    """A former commit's rows of the holdout: key, label as that commit knows it, `score`; and how that was told."""

    rows: pl.DataFrame
    how: How
    why: str


@dataclass(frozen=True)
class Judge:
    """What scoring former commits takes: today's holdout and data, and what gates.yaml says if their code fails."""

    holdout: Holdout
    data: Data
    workshop: Workshop
    if_code_fails: Literal["block", "todays_features"]

    @property
    def store(self) -> Store:
        """Return the store of today's data."""
        return self.data.store

    def score(self, former: Champion) -> Scored:
        """Score a former commit as that commit would; raise `UserError` if it cannot be had or run any more."""
        try:
            if (rows := self._recorded(former)) is not None:
                return self._scored(former, rows, "recorded")
            if not _differs(former) and self._are_built(former):
                return self._scored(former, self._on_todays_features(former), "same code")
            return self._scored(former, self.workshop.predictions(former), "own code")
        except CannotRunError as error:
            if self.if_code_fails == "block":
                raise UserError(
                    f"{error}. Mend it on main, or let gates.yaml score it on this commit's features with "
                    "champion.if_code_fails: todays_features"
                ) from None
            why = (
                "is scored on this commit's features, as gates.yaml allows: what these break also lowers its score. "
                f"Its own code cannot be used: {error}"
            )
            return self._scored(former, self._on_todays_features(former), "todays features", why)

    def features(self, former: Champion, how: How) -> pl.DataFrame | None:
        """Return the holdout's features as a commit that was scored has them; None if they are this commit's.

        Raise `UserError` if they cannot be had.
        """
        if how in ("same code", "todays features"):
            return None
        path = FEATURES / f"{self.holdout.partition}.parquet"
        folder = dvc_files.outs(former.lock).get(FEATURES.as_posix())
        if how == "own code" or folder is None:
            return self.workshop.features(former, self.holdout.partition)
        name = f"the champion's {path} (commit {former.name})"
        md5 = self.store.files(folder, f"the list of the champion's features ({folder})").get(path.name)
        if md5 is None:
            raise UserError(f"{name} is not in the list of its features: run `make pipeline` on main and commit {LOCK}")
        return files.parse_parquet(self.store.read(md5, name), name, "restore it in DVC's remote")

    def _recorded(self, former: Champion) -> pl.DataFrame | None:
        """Return the recorded predictions if they are of today's rows and can be had; raise `UserError` if altered."""
        md5 = dvc_files.outs(former.lock).get(PREDICTIONS.as_posix())
        if md5 is None or not self._is_of_todays_rows(former):
            return None
        name = f"the champion's {PREDICTIONS} ({md5}, commit {former.name})"
        content = self.store.find(md5, name)
        if content is None:
            return None
        return files.parse_parquet(content, name, f"run `make pipeline` on main and commit {LOCK} there")

    def _is_of_todays_rows(self, former: Champion) -> bool:
        """Return whether holdout, and all data that its features look at, are those of the commit's evaluation."""
        now, name = dvc_files.read(DATA_DVC), f"{DATA_DVC} at {former.name}"
        if former.newest != self.holdout.partition or not former.data:
            return False
        then = hash_of(former.data, name)
        if not dvc_files.is_of_one_run(former.lock, then):
            return False
        if then == hash_of(now, str(DATA_DVC)):
            return True
        try:
            old = Data.named(former.data, name, self.store).files
        except UserError:  # the list is lost: then its own code is run
            return False
        newest = sorted(self.data.files)[-1 - LOOK_BACK :]
        return sorted(old)[-1 - LOOK_BACK :] == newest and all(old[part] == self.data.files[part] for part in newest)

    def _are_built(self, former: Champion) -> bool:
        """Return whether today's features of the holdout are what the code, which is the commit's, builds."""
        if provenance.origin(former.commit).kind != "person":
            return True
        built = self.workshop.features(former, self.holdout.partition)
        if registered().target not in built.columns or any(name not in built.columns for name in key()):
            return False
        rows = built.filter(pl.col(registered().target).is_not_null()).sort(key())
        return rows.equals(self.holdout.table.sort(key()))

    def _on_todays_features(self, former: Champion) -> pl.DataFrame:
        """Predict with its ONNX and today's features."""
        model, name = fetch(former, self.store), f"the champion's model (commit {former.name})"
        try:
            score = _predict(model, self.holdout.table)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        except KeyError as missing:
            raise UserError(
                f"{name} reads the feature {missing}, which this commit's features lack: "
                "let src/ml build it until the new model is merged, and remove it then"
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever the runtime raises, the champion is unreadable
            raise UserError(
                f"{name} cannot be run on this commit's features ({_first_line(error)}): "
                "keep their types as it knows them"
            ) from None
        return self.holdout.table.select(*key(), registered().target).with_columns(score=pl.Series(score))

    def _scored(self, former: Champion, rows: pl.DataFrame, how: How, why: str = "") -> Scored:
        """Check what was predicted, and give its key today's types.

        Raise `CannotRunError` if it has no such key, `UserError` if there is a row without a finite score.
        """
        name = f"the predictions of commit {former.name}"
        if missing := [column for column in (registered().target, "score") if column not in rows.columns]:
            raise CannotRunError(f"{name} lack the column {missing[0]}")
        types = {column: self.holdout.table.schema.get(column) for column in key()}
        try:
            keys = [pl.col(column).cast(dtype) if dtype else pl.col(column) for column, dtype in types.items()]
            rows = keyed(rows, name).select(
                *keys, pl.col(registered().target).cast(pl.Boolean), pl.col("score").cast(pl.Float64)
            )
        except (UserError, pl.exceptions.PolarsError) as error:
            raise CannotRunError(str(error).splitlines()[0]) from None
        if not np.isfinite(rows["score"].to_numpy()).all():
            raise UserError(f"{name} are not finite: revert main to a model that gives scores")
        return Scored(rows, how, f"The model of {former.name} {why or 'is ' + SAID[how]}.")


def challenger(model: bytes, table: pl.DataFrame) -> Floats:
    """Score the model that is to be judged; shape (N,)."""
    try:
        return _predict(model, table)
    except UserError as error:
        raise UserError(f"{MODEL}: {error}") from None
    except KeyError as missing:
        raise UserError(f"{MODEL} reads the feature {missing}, which features/ lacks: run `make pipeline`") from None
    except Exception as error:  # noqa: BLE001 - whatever the runtime raises, there is nothing to judge
        raise UserError(f"{MODEL} cannot be run ({_first_line(error)}): run `make pipeline`") from None


def _differs(former: Champion) -> bool:
    """Return whether that commit would make other features, or other predictions of them, than this folder's code."""
    now = dvc_files.read(LOCK)
    params = [[dvc_files.stage(lock, stage).get("params") for stage in STAGES] for lock in (former.lock, now)]
    return params[0] != params[1] or git.differs(former.commit, "src", "engine/src", "dvc.yaml")


def _predict(model: bytes, table: pl.DataFrame) -> Floats:
    return np.asarray(predict(session(model), table), np.float64).reshape(-1)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
