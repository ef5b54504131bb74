"""A training that was killed goes on where it was, as long as all that it is made from stays the same."""

import os
import shutil
from pathlib import Path

FOLDER = Path(".cache/checkpoints")


class Checkpoint:
    """The last state of a training, in a file named by its inputs' hash."""

    def __init__(self, key: str) -> None:
        self.path = FOLDER / f"{key}.pt"

    def load(self) -> bytes | None:
        """Give what was saved last, and say so; None at the start."""
        if not self.path.exists():
            return None
        print("going on where this training was stopped:", flush=True)
        return self.path.read_bytes()

    def save(self, state: bytes) -> None:
        """Replace what was saved; a kill at any moment leaves the old or the new."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".part")
        with unfinished.open("wb") as file:
            file.write(state)
            os.fsync(file.fileno())
        unfinished.replace(self.path)

    def remove(self) -> None:
        """Forget it, and what other trainings left that never came to their end."""
        shutil.rmtree(FOLDER, ignore_errors=True)
