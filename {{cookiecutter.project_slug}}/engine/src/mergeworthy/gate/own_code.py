"""Former commits run again: their own features of today's holdout, and their own predictions.

What runs is a commit of main's history, which was reviewed, or one that a person named with `--champion`: its stages
`features` and `evaluate`, by the commands in its own dvc.lock, in a scratch folder that holds its files, its outs and
those partitions of today's data that its features look at. It has this environment, but its own code, and a deadline.
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

import polars as pl

from ..adapters import dvc_files, git
from ..adapters.dvc_store import DIRECTORY
from ..errors import UserError
from ..paths import DATA, FEATURES, PREDICTIONS
from ..stages.versions import write as write_versions
from ..text import say
from .champion import Champion
from .partition import Data

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
