"""The stages' versions, by which dvc.yaml names the engine: the project's file has to be that of the engine in use.

An engine in engine/ has the file already. One that is installed from elsewhere brings its own, which `make setup`
writes to the same place, so that dvc.lock stays true.
"""

from pathlib import Path

from ..errors import UserError, run

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
