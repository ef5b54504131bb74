"""A copy of this project that its own verbs run in: no account, and nothing of the project itself is touched."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ...adapters.branch import BOT
from ...errors import UserError
from ...paths import DATA_DVC, LOCK

# What would lead a verb back to the project, to make's state, to CI, or to a server.
STATE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "GIT_DIR", "MLFLOW_TRACKING_URI", "GITHUB_ACTIONS")


@dataclass(frozen=True)
class Copy:
    """A repository in `folder`, with what its verbs printed in `log`."""

    folder: Path
    log: Path

    @classmethod
    def of(cls, project: Path, folder: Path, home: Path) -> Self:
        """Copy what git tracks or would track, as it stands, without data and lock; DVC remote and log in `home`."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        if listed.returncode:
            raise UserError("a replay copies what git knows of: run `git init` first")
        for name in listed.stdout.split("\0"):
            if name and name not in (str(DATA_DVC), str(LOCK)) and (project / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(project / name, folder / name)
        (folder / ".venv").symlink_to(sys.prefix)
        os.utime(folder / "pyproject.toml", (0, 0))  # older than the environment: nothing to set up
        copy, remote = cls(folder, home / f"{folder.name}.log"), (home / "remote").resolve()
        copy.log.unlink(missing_ok=True)
        copy.git("init", "--quiet", "--initial-branch=main")
        remote.mkdir(exist_ok=True)
        copy.dvc("remote", "add", "--local", "--force", "--default", "replay", str(remote))
        return copy

    def verb(self, *words: str, red: Path | None = None) -> bool:
        """Run `make <words>`; False where it failed, and said why in the file `red`; raise `UserError` else."""
        if self._run("make", *words):
            return True
        if red and (self.folder / red).exists():
            return False
        raise UserError(f"make {' '.join(words)} failed in the replay, see {self.log}: {self._last_words()}")

    def commit(self, message: str) -> None:
        """Commit whatever changed."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def git(self, *words: str) -> None:
        """Run git in the copy."""
        self._need("git", "-c", "core.hooksPath=/dev/null", *words)

    def dvc(self, *words: str) -> None:
        """Run DVC in the copy."""
        self._need(sys.executable, "-m", "dvc", *words)

    def environment(self) -> dict[str, str]:
        """The environment of its programs; the package is imported from the copy."""
        outer = {key: value for key, value in os.environ.items() if key not in STATE}
        return {**outer, **BOT, "PYTHONPATH": "src:engine/src", "DVC_NO_ANALYTICS": "1"}

    def _need(self, *command: str) -> None:
        if not self._run(*command):
            raise UserError(f"{command[0]} failed in the replay, see {self.log}: {self._last_words()}")

    def _run(self, *command: str) -> bool:
        environment, begin = self.environment(), time.monotonic()
        with self.log.open("a") as log:
            print("$", *command, file=log, flush=True)
            done = subprocess.run(command, cwd=self.folder, env=environment, stdout=log, stderr=log, check=False)
            print(f"# {time.monotonic() - begin:.1f} s, exit {done.returncode}", file=log)
        return done.returncode == 0

    def _last_words(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines()[:-1] if line.strip()]
        told = [line for line in lines[-20:] if line.startswith(("error:", "ERROR:"))]
        return (told or lines)[-1]
