"""What every stage does first: compare the stages' versions with the engine's, and stop if it may only be restored.

dvc.yaml names the engine by the versions in engine/src/mergeworthy/stages.yaml, so that file must belong to the engine
that runs. An engine whose source is in engine/ has the file. An engine that is installed from elsewhere brings its own
copy, which `make setup` writes to the same place, so that dvc.lock stays valid.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ..errors import UserError, run

PROJECT_VERSIONS = Path("engine/src/mergeworthy/stages.yaml")
ENGINE_VERSIONS = Path(__file__).parents[1] / "stages.yaml"
ENGINE_SOURCE = Path("engine/pyproject.toml")


def run_stage(main: Callable[[], None]) -> NoReturn:
    """Run a stage as a command; it is an error if RESTORE_ONLY is set, as in the job that only reports."""

    def checked() -> None:
        if os.environ.get("RESTORE_ONLY"):
            raise UserError(
                "the run cache of the DVC remote does not hold this run: let the job `train` finish first; if the "
                "remote is a folder, both jobs' machines must share it"
            )
        check()
        main()

    run(checked)


def check() -> None:
    """Raise `UserError` if dvc.yaml reads other versions than those of the engine that runs."""
    if PROJECT_VERSIONS.is_file() and PROJECT_VERSIONS.read_bytes() != ENGINE_VERSIONS.read_bytes():
        raise UserError(
            f"{PROJECT_VERSIONS} is not that of the engine in use ({ENGINE_VERSIONS.parent}): run `make setup`, and "
            "commit the file"
        )


def write(folder: Path = Path()) -> None:
    """Write the engine's versions into a project that does not contain the engine's source."""
    if not (folder / ENGINE_SOURCE).exists():
        (folder / PROJECT_VERSIONS).parent.mkdir(parents=True, exist_ok=True)
        (folder / PROJECT_VERSIONS).write_bytes(ENGINE_VERSIONS.read_bytes())


if __name__ == "__main__":
    run(write)
