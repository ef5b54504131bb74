"""The champion: which commit it is, and what its model predicts for the holdout.

The champion is the commit that main points to. There is none if git finds no dvc.lock there; a failure never counts as
"none yet".

A commit's recorded predictions count if the holdout and its data are those that the commit was evaluated on. If the
data changed, the commit's own stages `features` and `evaluate` run on today's data: by the commands in its dvc.lock,
in a scratch folder with its files, its outs and the newest partitions, in this environment, with a time limit. Such a
commit is in main's history, which was reviewed, or a person named it with `--champion`. If its code and parameters
are those of this folder, today's features are used instead, unless a person may have replaced them (`dvc commit`).
"""

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
from ..adapters import actions, dvc, git
from ..adapters.dvc import DIRECTORY, Document, Store
from ..artifact import predict, session
from ..config.gates import Anchor
from ..errors import UserError
from ..files import DATA, DATA_DVC, FEATURES, LOCK, MODEL, PREDICTIONS
from ..holdout import Holdout
from ..partitions import Partition
from ..project import registered
from ..stages.base import write as write_versions
from ..stats import Floats
from ..text import say
from .rows import DataFiles, check_key, data_md5, key

CODE_PATHS = ("src", "engine/src", "dvc.yaml")
STAGES = ("features", "evaluate")
LOOK_BACK = 1  # partitions before the newest that the features may read
ERROR_LENGTH = 300  # characters of a stage's error
# Variables that would make a stage behave as in CI, under make, or in another repository.
UNSET_VARIABLES = (
    "GITHUB_ACTIONS",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_WORK_TREE",
    "MAKEFLAGS",
    "MAKELEVEL",
    "RESTORE_ONLY",
)

Method = Literal["recorded", "same code", "own code", "todays features"]
METHOD_DESCRIPTIONS: dict[Method, str] = {
    "recorded": "judged by the predictions recorded at its commit, which are of the same rows",
    "same code": "scored on this commit's features, as code and feature parameters are the same",
    "own code": "judged by its own commit's code, run on today's data",
}


class NoModelError(UserError):
    """A dvc.lock that records no model."""


class CannotRunError(UserError):
    """A commit whose own code cannot be run on today's data."""


@dataclass(frozen=True)
class Champion:
    """A commit, its model's MD5, its newest partition (its holdout), and the content of its data.dvc and dvc.lock."""

    commit: str
    md5: str
    newest: str | None
    data: Document = field(repr=False)
    lock: Document = field(repr=False)

    @property
    def name(self) -> str:
        """Return the commit's short hash."""
        return self.commit[:12]


def find_champion(ref: str | None) -> Champion | None:
    """Return the champion at `ref`, or at main; None if that commit has no dvc.lock.

    Raise `UserError` if git or dvc.lock cannot be read.
    """
    if ref is None and git.empty():
        return None
    return _at(_commit(ref))


def earlier_champions(champion: Champion, settings: Anchor) -> tuple[list[Champion], int]:
    """Return former champions with other models, newest first, and the number of commits with an unreadable dvc.lock.

    They are the commits on main's first-parent history that changed dvc.lock. Raise `UserError` if a shallow clone
    holds too few of them, or git does not know the commit `settings.after`.
    """
    if settings.after and not git.resolve(settings.after):
        raise UserError(f"gates.yaml: anchor.after: git knows no commit {settings.after} here")
    champions, models, unreadable = list[Champion](), {champion.md5}, 0
    for commit in git.history(champion.commit, LOCK):
        if len(champions) == settings.champions or (settings.after and git.is_ancestor(commit, settings.after)):
            return champions, unreadable
        try:
            former = _at(commit)
        except NoModelError:  # its lock records a part of the stages only, so it is no champion
            continue
        except UserError:
            unreadable += 1
            continue
        if former and former.md5 not in models:
            models.add(former.md5)
            champions.append(former)
    if len(champions) < settings.champions and git.is_shallow():
        raise UserError("the history of main is cut off in this shallow clone: run `git fetch --unshallow`")
    return champions, unreadable


def fetch_model(champion: Champion, store: Store) -> bytes:
    """Return the champion's ONNX file; raise `UserError` if DVC has no file with the MD5 in its dvc.lock."""
    return store.read(champion.md5, f"the champion's {MODEL} ({champion.md5}, commit {champion.name})")


def other_question(champion: Champion, store: Store) -> str | None:
    """Return in words by what the champion's predictions answer another question; None if they answer this one.

    The facts are in the predictions that the champion's dvc.lock records: the target, its type, and the numbers per
    row. Without these predictions the question counts as the same, and so it does if only the key differs.
    """
    md5, name = dvc.outs(champion.lock).get(PREDICTIONS.as_posix()), f"the champion's {PREDICTIONS}"
    content = store.find(md5, name) if md5 else None
    if content is None:
        return None
    task, target = registered().task, registered().target
    recorded = files.parse_parquet(content, name, f"run `make pipeline` on main and commit {LOCK} there").schema
    if missing := [column for column in (target, "score") if column not in recorded]:
        return f"no column {missing[0]}"
    if (task.wrong_targets(target, recorded[target]) is not None) and recorded[target] != task.target_type:
        return f"a target {target} of type {recorded[target]}, where {task.expectation} is expected,"
    widths = [dtype.shape[0] if isinstance(dtype, pl.Array) else 1 for dtype in (recorded["score"], task.score_type)]
    if widths[0] != widths[1]:
        return f"{widths[0]} numbers for a row, and not {widths[1]},"
    return None


def _at(commit: str) -> Champion | None:
    lock_text, data_text = git.read(commit, LOCK), git.read(commit, DATA_DVC)
    if lock_text is None:
        return None
    name = f"{LOCK} at {commit[:12]}"
    lock = dvc.parse(lock_text, name)
    data = dvc.parse(data_text, f"{DATA_DVC} at {commit[:12]}") if data_text else {}
    newest = max(dvc.partitions(data), default=None)
    try:
        md5 = dvc.model(lock, name)
    except UserError as error:
        raise NoModelError(str(error)) from None
    return Champion(commit, md5, newest, data, lock)


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


@dataclass
class CommitRunner:
    """Run the code of former commits on today's data, each in a scratch folder below `root`.

    All runs together have `seconds`. Commits with the same code and feature parameters share one folder.
    """

    root: Path
    data: DataFiles
    seconds: float
    _folders: dict[str, Path | CannotRunError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds

    def predictions(self, champion: Champion) -> pl.DataFrame:
        """Return the predictions of the commit's own code; raise `CannotRunError` if it fails or the time is up."""
        say(f"running the code of commit {champion.name} on today's data")
        folder = self._folder_with_features(champion)
        self._write_inputs(champion, "evaluate", folder)
        (folder / PREDICTIONS).unlink(missing_ok=True)
        self._run(champion, "evaluate", folder)
        try:
            return pl.read_parquet(folder / PREDICTIONS)
        except (OSError, pl.exceptions.PolarsError):
            raise CannotRunError(f"the code of commit {champion.name} wrote no {PREDICTIONS}") from None

    def features(self, champion: Champion, partition: Partition) -> pl.DataFrame:
        """Return the features that the commit's own code builds of a partition; raise `CannotRunError` if it cannot."""
        path = partition.features
        try:
            return pl.read_parquet(self._folder_with_features(champion) / path)
        except (OSError, pl.exceptions.PolarsError):
            raise CannotRunError(f"the code of commit {champion.name} wrote no {path}") from None

    def _folder_with_features(self, champion: Champion) -> Path:
        """Return a folder with the commit's code and the features that it builds."""
        params = dvc.stage(champion.lock, "features").get("params")
        code = " ".join([*(str(git.tree(champion.commit, path)) for path in CODE_PATHS), str(params)])
        if code not in self._folders:
            try:
                self._folders[code] = self._build_features(champion)
            except CannotRunError as error:
                self._folders[code] = error
        folder = self._folders[code]
        if isinstance(folder, CannotRunError):
            raise folder
        return folder

    def _build_features(self, champion: Champion) -> Path:
        folder = self.root / champion.name
        folder.mkdir(parents=True)
        try:
            git.export(champion.commit, folder)
        except (OSError, tarfile.TarError) as error:
            raise CannotRunError(f"the files of commit {champion.name} cannot be written: {error}") from None
        write_versions(folder)  # a commit that has no engine runs with the installed one
        (folder / DATA).mkdir(exist_ok=True)
        for partition in sorted(self.data.files)[-1 - LOOK_BACK :]:
            (folder / DATA / partition).symlink_to(self.data.folder(partition, self.root / "data").resolve())
        self._write_inputs(champion, "features", folder)
        self._run(champion, "features", folder)
        return folder

    def _write_inputs(self, champion: Champion, stage: str, folder: Path) -> None:
        """Write the stage's dependencies that are outs of another stage of that commit, such as its model."""
        outs = dvc.outs(champion.lock)
        for dep in dvc.stage(champion.lock, stage).get("deps", []):
            path, md5 = dep["path"], outs.get(dep["path"])
            if md5 and not md5.endswith(DIRECTORY):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                name = f"the champion's {path} ({md5}, commit {champion.name})"
                (folder / path).write_bytes(self.data.store.read(md5, name))

    def _run(self, champion: Champion, stage: str, folder: Path) -> None:
        command = dvc.stage(champion.lock, stage).get("cmd")
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
                    f"champion.minutes in gates.yaml gives all former commits {self.seconds / 60:g} minutes"
                ) from None
            finally:
                _kill_group(process)
        if code:
            raise CannotRunError(f"the stage {stage} of commit {champion.name} cannot be run any more: {_failure(log)}")


def _environment(folder: Path) -> dict[str, str]:
    """Return this environment with the commit's own packages before the installed ones."""
    outer = {name: value for name, value in os.environ.items() if name not in UNSET_VARIABLES}
    path = os.pathsep.join([str(Path(sys.executable).parent), outer.get("PATH", os.defpath)])
    packages = os.pathsep.join(str((folder / name).resolve()) for name in ("src", "engine/src"))
    return outer | {"PYTHONPATH": packages, "PATH": path}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the process and every process that it started."""
    with suppress(ProcessLookupError, PermissionError):  # all have ended already
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failure(log: Path) -> str:
    """Return the stage's last error line, or else its last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it printed nothing"])[-1][:ERROR_LENGTH]


@dataclass(frozen=True)
class ScoredChampion:
    """A former commit's rows of the holdout: key, label by that commit, `score`; and the method of scoring."""

    rows: pl.DataFrame
    method: Method
    why: str


@dataclass(frozen=True)
class ChampionScorer:
    """Score former commits on today's holdout; `if_code_fails` is the setting of gates.yaml."""

    holdout: Holdout
    data: DataFiles
    runner: CommitRunner
    if_code_fails: Literal["block", "todays_features"]

    @property
    def store(self) -> Store:
        """Return the store of today's data."""
        return self.data.store

    def score(self, former: Champion) -> ScoredChampion:
        """Score a former commit as that commit would; raise `UserError` if its files or its code cannot be used."""
        try:
            if (rows := self._recorded(former)) is not None:
                return self._checked(former, rows, "recorded")
            if not _code_differs(former) and self._features_match_code(former):
                return self._checked(former, self._on_todays_features(former), "same code")
            return self._checked(former, self.runner.predictions(former), "own code")
        except CannotRunError as error:
            if self.if_code_fails == "block":
                raise UserError(
                    f"{error}. Fix it on main, or let gates.yaml score it on this commit's features with "
                    "champion.if_code_fails: todays_features"
                ) from None
            why = (
                "is scored on this commit's features, as gates.yaml allows: a defect in them also lowers its score. "
                f"Its own code cannot be used: {error}"
            )
            return self._checked(former, self._on_todays_features(former), "todays features", why)

    def features(self, former: Champion, method: Method) -> pl.DataFrame | None:
        """Return the holdout's features by a commit scored with `method`; None if they are this commit's.

        Raise `UserError` if they cannot be read or built.
        """
        if method in ("same code", "todays features"):
            return None
        path = self.holdout.partition.features
        folder = dvc.outs(former.lock).get(FEATURES.as_posix())
        if method == "own code" or folder is None:
            return self.runner.features(former, self.holdout.partition)
        name = f"the champion's {path} (commit {former.name})"
        md5 = self.store.files(folder, f"the list of the champion's features ({folder})").get(path.name)
        if md5 is None:
            raise UserError(f"{name} is not in the list of its features: run `make pipeline` on main and commit {LOCK}")
        return files.parse_parquet(self.store.read(md5, name), name, "restore it in DVC's remote")

    def _recorded(self, former: Champion) -> pl.DataFrame | None:
        """Return the recorded predictions, or None if they are lost or of other rows; raise `UserError` if altered."""
        md5 = dvc.outs(former.lock).get(PREDICTIONS.as_posix())
        if md5 is None or not self._evaluated_on_todays_rows(former):
            return None
        name = f"the champion's {PREDICTIONS} ({md5}, commit {former.name})"
        content = self.store.find(md5, name)
        if content is None:
            return None
        return files.parse_parquet(content, name, f"run `make pipeline` on main and commit {LOCK} there")

    def _evaluated_on_todays_rows(self, former: Champion) -> bool:
        """Return True if the holdout, and all data that its features read, are those of the commit's evaluation."""
        name = f"{DATA_DVC} at {former.name}"
        if former.newest != self.holdout.partition or not former.data:
            return False
        recorded = data_md5(former.data, name)
        if not dvc.is_of_one_run(former.lock, recorded):
            return False
        if recorded == data_md5(dvc.read(DATA_DVC), str(DATA_DVC)):
            return True
        try:
            former_files = DataFiles.of(former.data, name, self.store).files
        except UserError:  # the list of files is lost: the commit's own code runs instead
            return False
        newest = sorted(self.data.files)[-1 - LOOK_BACK :]
        if sorted(former_files)[-1 - LOOK_BACK :] != newest:
            return False
        return all(former_files[partition] == self.data.files[partition] for partition in newest)

    def _features_match_code(self, former: Champion) -> bool:
        """Return True if the features in this folder are those that the commit's code, the same as here, builds."""
        if actions.origin(former.commit).kind != "person":
            return True
        built = self.runner.features(former, self.holdout.partition)
        if registered().target not in built.columns or any(name not in built.columns for name in key()):
            return False
        rows = built.filter(pl.col(registered().target).is_not_null()).sort(key())
        return rows.equals(self.holdout.table.sort(key()))

    def _on_todays_features(self, former: Champion) -> pl.DataFrame:
        """Predict with the commit's ONNX file and today's features."""
        model, name = fetch_model(former, self.store), f"the champion's model (commit {former.name})"
        try:
            score = _predict(model, self.holdout.table)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        except KeyError as missing:
            raise UserError(
                f"{name} reads the feature {missing}, which this commit's features lack: "
                "let src/ml build it until the new model is merged, and remove it then"
            ) from None
        except Exception as error:  # noqa: BLE001 - onnxruntime documents no error types
            raise UserError(
                f"{name} cannot be run on this commit's features ({_first_line(error)}): "
                "keep the types that these columns have on main"
            ) from None
        scores = pl.Series(score, dtype=registered().task.score_type)
        return self.holdout.table.select(*key(), registered().target).with_columns(score=scores)

    def _checked(self, former: Champion, rows: pl.DataFrame, method: Method, why: str = "") -> ScoredChampion:
        """Check a commit's predictions, and cast their key to today's types.

        Raise `CannotRunError` if a column or the key is missing, `UserError` if a row has no finite score.
        """
        task, name, target = registered().task, f"the predictions of commit {former.name}", registered().target
        if absent := [column for column in (target, "score") if column not in rows.columns]:
            raise CannotRunError(f"{name} lack the column {absent[0]}")
        types = {column: self.holdout.table.schema.get(column) for column in key()}
        try:
            keys = [pl.col(column).cast(dtype) if dtype else pl.col(column) for column, dtype in types.items()]
            rows = check_key(rows, name).select(*keys, task.cast(pl.col(target)), pl.col("score").cast(task.score_type))
        except (UserError, pl.exceptions.PolarsError) as error:
            raise CannotRunError(str(error).splitlines()[0]) from None
        if not np.isfinite(rows["score"].to_numpy()).all():
            raise UserError(f"{name} are not finite: revert main to a model whose scores are numbers")
        return ScoredChampion(rows, method, f"The model of {former.name} {why or 'is ' + METHOD_DESCRIPTIONS[method]}.")


def score_challenger(model: bytes, table: pl.DataFrame) -> Floats:
    """Return the challenger's scores of the table's N rows."""
    try:
        return _predict(model, table)
    except UserError as error:
        raise UserError(f"{MODEL}: {error}") from None
    except KeyError as missing:
        raise UserError(f"{MODEL} reads the feature {missing}, which features/ lacks: run `make pipeline`") from None
    except Exception as error:  # noqa: BLE001 - onnxruntime documents no error types
        raise UserError(f"{MODEL} cannot be run ({_first_line(error)}): run `make pipeline`") from None


def _code_differs(former: Champion) -> bool:
    """Return True if that commit's code or parameters of features and evaluation are not those of this folder."""
    lock = dvc.read(LOCK)
    former_params, params = [
        [dvc.stage(content, stage).get("params") for stage in STAGES] for content in (former.lock, lock)
    ]
    return former_params != params or git.differs(former.commit, *CODE_PATHS)


def _predict(model: bytes, table: pl.DataFrame) -> Floats:
    return predict(session(model), table).astype(np.float64)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
