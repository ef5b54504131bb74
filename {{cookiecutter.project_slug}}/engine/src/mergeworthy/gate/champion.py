"""The champion: which commit it is, and what it predicts, by its own code, parameters and features."""

import os
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from .. import files
from ..adapters import actions, dvc_files, git
from ..adapters.dvc_files import DIRECTORY, Document, Store
from ..artifact import predict, session
from ..config.gates import Anchor
from ..errors import UserError
from ..holdout import Holdout
from ..paths import DATA, DATA_DVC, FEATURES, LOCK, MODEL, PREDICTIONS
from ..project import registered
from ..stages.base import write as write_versions
from ..stats import Floats
from ..text import say
from .rows import Data, hash_of, key, keyed

# DOC gate.champion: The champion: the commit that main points to. That there is none is read from git, never
# concluded from a failure.


class NoModelError(UserError):
    """A dvc.lock that records no model."""


@dataclass(frozen=True)
class Champion:
    """A commit, its model's MD5, its newest partition, which that model was not trained on, its data.dvc and lock."""

    commit: str
    md5: str
    newest: str | None
    data: Document = field(repr=False)
    lock: Document = field(repr=False)

    @property
    def name(self) -> str:
        """Return the commit's short hash."""
        return self.commit[:12]


def find(ref: str | None) -> Champion | None:
    """Return the champion at `ref`, or main; None if nothing was ever locked there.

    Raise `UserError` if git or the lock cannot be read, so that a failure is never taken for "none yet".
    """
    if ref is None and git.empty():
        return None
    return _at(_commit(ref))


def earlier(champion: Champion, settings: Anchor) -> tuple[list[Champion], int]:
    """Return former champions with other models, newest first, and how many commits hold a lock that is unreadable.

    They are the commits on main's first-parent line that changed dvc.lock. Raise `UserError` if that line is cut off
    before there are enough, or `settings.after` is unknown.
    """
    if settings.after and not git.resolve(settings.after):
        raise UserError(f"gates.yaml: anchor.after: git knows no commit {settings.after} here")
    found, seen, unreadable = list[Champion](), {champion.md5}, 0
    for commit in git.history(champion.commit, LOCK):
        if len(found) == settings.champions or (settings.after and git.is_ancestor(commit, settings.after)):
            return found, unreadable
        try:
            former = _at(commit)
        except NoModelError:  # a lock of a part of the stages is no champion
            continue
        except UserError:
            unreadable += 1
            continue
        if former and former.md5 not in seen:
            seen.add(former.md5)
            found.append(former)
    if len(found) < settings.champions and git.is_shallow():
        raise UserError("the history of main is cut off in this shallow clone: run `git fetch --unshallow`")
    return found, unreadable


def fetch(champion: Champion, store: Store) -> bytes:
    """Return the champion's ONNX; raise `UserError` unless DVC has a file with the hash that is locked."""
    return store.read(champion.md5, f"the champion's {MODEL} ({champion.md5}, commit {champion.name})")


def _at(commit: str) -> Champion | None:
    lock, data = git.read(commit, LOCK), git.read(commit, DATA_DVC)
    if lock is None:
        return None
    locked, name = dvc_files.parse(lock, f"{LOCK} at {commit[:12]}"), f"{LOCK} at {commit[:12]}"
    recorded = dvc_files.parse(data, f"{DATA_DVC} at {commit[:12]}") if data else {}
    newest = max(dvc_files.partitions(recorded), default=None)
    try:
        md5 = dvc_files.model(locked, name)
    except UserError as error:
        raise NoModelError(str(error)) from None
    return Champion(commit, md5, newest, recorded, locked)


def _commit(ref: str | None) -> str:
    main = git.default_branch()
    for name in (ref,) if ref else (f"origin/{main}", main):
        if commit := git.resolve(name):
            return commit
    if ref:
        raise UserError(f"git knows no commit {ref} here: fetch it, or name another by CHAMPION=<commit>")
    raise UserError(
        f"git knows neither origin/{main} nor {main} here: `git fetch origin {main}`, or name one by CHAMPION=<commit>"
    )


# DOC gate.own_code: Former commits run again: their own features of today's holdout, and their own predictions. What
# runs is a commit of main's history, which was reviewed, or one that a person named with `--champion`: its stages
# `features` and `evaluate`, by the commands in its own dvc.lock, in a scratch folder that holds its files, its outs
# and those partitions of today's data that its features look at. It has this environment, but its own code, and a
# deadline.

LOOK_BACK = 1  # partitions before the newest that its features may read
STAGES = ("features", "evaluate")
CODE = ("src", "engine/src", "dvc.yaml")
# What would make a stage believe that it runs in CI, under make, or for another repository.
STATE = ("GITHUB_ACTIONS", "GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "MAKEFLAGS", "MAKELEVEL", "RESTORE_ONLY")


class CannotRunError(UserError):
    """A commit whose own code cannot be run on today's data."""


@dataclass
class Workshop:
    """Scratch folders for former commits, which share one deadline; commits with the same code share one folder."""

    root: Path
    data: Data
    seconds: float
    _folders: dict[str, Path | CannotRunError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds

    def predictions(self, champion: Champion) -> pl.DataFrame:
        """Return what the commit's own code predicts; raise `CannotRunError` if it fails or the time is up."""
        say(f"running the code of commit {champion.name} on today's data")
        folder = self._with_features(champion)
        self._inputs(champion, "evaluate", folder)
        (folder / PREDICTIONS).unlink(missing_ok=True)
        self._run(champion, "evaluate", folder)
        try:
            return pl.read_parquet(folder / PREDICTIONS)
        except (OSError, pl.exceptions.PolarsError):
            raise CannotRunError(f"the code of commit {champion.name} wrote no {PREDICTIONS}") from None

    def features(self, champion: Champion, partition: str) -> pl.DataFrame:
        """Return the rows that the commit's own code builds of a partition; raise `CannotRunError` if it cannot."""
        path = FEATURES / f"{partition}.parquet"
        try:
            return pl.read_parquet(self._with_features(champion) / path)
        except (OSError, pl.exceptions.PolarsError):
            raise CannotRunError(f"the code of commit {champion.name} wrote no {path}") from None

    def _with_features(self, champion: Champion) -> Path:
        """Return a folder with the commit's code and the features that it makes."""
        params = dvc_files.stage(champion.lock, "features").get("params")
        code = " ".join([*(str(git.tree(champion.commit, path)) for path in CODE), str(params)])
        if code not in self._folders:
            try:
                self._folders[code] = self._make(champion)
            except CannotRunError as error:
                self._folders[code] = error
        made = self._folders[code]
        if isinstance(made, CannotRunError):
            raise made
        return made

    def _make(self, champion: Champion) -> Path:
        folder = self.root / champion.name
        folder.mkdir(parents=True)
        try:
            git.export(champion.commit, folder)
        except (OSError, tarfile.TarError) as error:
            raise CannotRunError(f"the files of commit {champion.name} cannot be written: {error}") from None
        write_versions(folder)  # without an engine of its own the commit's code runs with the one in use
        (folder / DATA).mkdir(exist_ok=True)
        for partition in sorted(self.data.files)[-1 - LOOK_BACK :]:
            (folder / DATA / partition).symlink_to(self.data.folder(partition, self.root / "data").resolve())
        self._inputs(champion, "features", folder)
        self._run(champion, "features", folder)
        return folder

    def _inputs(self, champion: Champion, stage: str, folder: Path) -> None:
        """Write the files which the stage reads and another stage of that commit wrote, its model among them."""
        written = dvc_files.outs(champion.lock)
        for dep in dvc_files.stage(champion.lock, stage).get("deps", []):
            path, md5 = dep["path"], written.get(dep["path"])
            if md5 and not md5.endswith(DIRECTORY):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                name = f"the champion's {path} ({md5}, commit {champion.name})"
                (folder / path).write_bytes(self.data.store.read(md5, name))

    def _run(self, champion: Champion, stage: str, folder: Path) -> None:
        command = dvc_files.stage(champion.lock, stage).get("cmd")
        if not command:
            raise CannotRunError(f"dvc.lock at {champion.name} records no stage {stage}")
        lines = [command] if isinstance(command, str) else command
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                code = process.wait(max(self._end - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                raise CannotRunError(
                    f"the stage {stage} of commit {champion.name} was not done in time: "
                    f"gates.yaml, champion.minutes gives former commits {self.seconds / 60:g}"
                ) from None
            finally:
                _end(process)
        if code:
            raise CannotRunError(f"the stage {stage} of commit {champion.name} cannot be run any more: {_last(log)}")


def _environment(folder: Path) -> dict[str, str]:
    """Return this environment with the commit's own packages before any that is installed."""
    outer = {name: value for name, value in os.environ.items() if name not in STATE}
    path = os.pathsep.join([str(Path(sys.executable).parent), outer.get("PATH", os.defpath)])
    code = os.pathsep.join(str((folder / name).resolve()) for name in ("src", "engine/src"))
    return outer | {"PYTHONPATH": code, "PATH": path}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started."""
    with suppress(ProcessLookupError, PermissionError):  # there is none left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last(log: Path) -> str:
    """Return the line that says why: the stage's own sentence, or the last one."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (told or lines or ["it said nothing"])[-1][:300]


# DOC gate.scoring: Scores on the holdout, of the model that is judged and of former commits: those with their own
# code and features. A commit's recorded predictions count if the holdout and its data are what that commit was
# evaluated on. If they moved, its own code builds its features of today's data and predicts. If that code and its
# parameters are today's, it would build today's features, so these are taken, once they are known to be what the code
# builds: a person may have put other files there (`dvc commit`).

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
        if actions.origin(former.commit).kind != "person":
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
