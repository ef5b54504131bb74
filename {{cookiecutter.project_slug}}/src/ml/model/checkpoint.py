"""What a training asks of whoever keeps its state while it goes on."""

from typing import Protocol


class Checkpoint(Protocol):
    """One place for one state, as bytes."""

    def load(self) -> bytes | None:
        """Give what was saved last; None at the start."""

    def save(self, state: bytes) -> None:
        """Replace what was saved before."""
