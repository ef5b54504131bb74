"""What `make doctor` found: a sentence, and how to fix it."""

from dataclasses import dataclass
from enum import StrEnum

from ..text import logged

# DOC extras.doctor.finding: One line of the doctor's: how bad it is, what was found, how to mend it.


class Level(StrEnum):
    """The mark at the head of a line; only a problem makes `make doctor` fail."""

    OK = "✓"
    WARNING = "!"
    PROBLEM = "✗"
    SKIPPED = "-"


@dataclass(frozen=True)
class Finding:
    """What one check has to say; `mend` is empty where nothing needs mending."""

    level: Level
    topic: str
    says: str
    mend: str = ""

    def __str__(self) -> str:
        """Give the line, and below it the way out."""
        return logged(f"{self.level} {self.topic}: {self.says}") + (f"\n    {logged(self.mend)}" if self.mend else "")


def ok(topic: str, says: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.OK, topic, says)


def warning(topic: str, says: str, mend: str) -> Finding:
    """Works, but not as well as it could; or could not be told."""
    return Finding(Level.WARNING, topic, says, mend)


def problem(topic: str, says: str, mend: str) -> Finding:
    """Something of what this project promises cannot work."""
    return Finding(Level.PROBLEM, topic, says, mend)


def skipped(topic: str, why: str) -> Finding:
    """Not asked, and why."""
    return Finding(Level.SKIPPED, topic, f"skipped: {why}")
