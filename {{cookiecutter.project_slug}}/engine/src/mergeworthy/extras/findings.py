"""A finding of `make doctor`: one line on what was checked, and a second one on how to fix it."""

from dataclasses import dataclass
from enum import StrEnum

from ..text import logged


class Level(StrEnum):
    """The mark at the head of a line; only a problem makes `make doctor` fail."""

    OK = "✓"
    WARNING = "!"
    PROBLEM = "✗"
    SKIPPED = "-"


@dataclass(frozen=True)
class Finding:
    """The result of one check; `remedy` is empty if there is nothing to fix."""

    level: Level
    topic: str
    says: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return the line of the finding and, indented below it, the remedy."""
        line = logged(f"{self.level} {self.topic}: {self.says}")
        return f"{line}\n    {logged(self.remedy)}" if self.remedy else line


def ok(topic: str, says: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(Level.OK, topic, says)


def warning(topic: str, says: str, remedy: str) -> Finding:
    """Return a finding on something that works with limits, or that could not be checked."""
    return Finding(Level.WARNING, topic, says, remedy)


def problem(topic: str, says: str, remedy: str) -> Finding:
    """Return a finding on something that cannot work."""
    return Finding(Level.PROBLEM, topic, says, remedy)


def skipped(topic: str, reason: str) -> Finding:
    """Return a finding on something that was not checked."""
    return Finding(Level.SKIPPED, topic, f"skipped: {reason}")
