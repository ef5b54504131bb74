"""What every stage does first: compare its version with the engine's, and stop if only restoring is allowed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ..errors import UserError, run

# DOC stages.__init__: One short module per DVC stage: read files, call ml, write files. Each also runs without DVC:
# `python -m …`.


def run_stage(main: Callable[[], None]) -> NoReturn:
    """Run a stage; where only restoring is allowed (the job that reports), running one at all is the error."""

    def guarded() -> None:
        if os.environ.get("RESTORE_ONLY"):
            raise UserError(
                "the run cache of the DVC remote does not hold this run: let the job `train` finish first, "
                "and where the remote is a folder, let it be one that both jobs' machines share"
            )
        check()
        main()

    run(guarded)


# DOC stages.versions: The stages' versions, by which dvc.yaml names the engine: the project's file has to be that of
# the engine in use. An engine in engine/ has the file already. One that is installed from elsewhere brings its own,
# which `make setup` writes to the same place, so that dvc.lock stays true.

FILE = Path("engine/src/mergeworthy/stages.yaml")
SOURCE = Path("engine/pyproject.toml")
OWN = Path(__file__).parents[1] / "stages.yaml"


def check() -> None:
    """Raise `UserError` if dvc.yaml reads other versions than those of the engine that runs."""
    if FILE.is_file() and FILE.read_bytes() != OWN.read_bytes():
        raise UserError(
            f"{FILE} is not that of the engine in use ({OWN.parent}): run `make setup`, and commit the file"
        )


def write(folder: Path = Path()) -> None:
    """Write the file in a project without the engine's source."""
    if not (folder / SOURCE).exists():
        (folder / FILE).parent.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_bytes(OWN.read_bytes())


if __name__ == "__main__":
    run(write)
