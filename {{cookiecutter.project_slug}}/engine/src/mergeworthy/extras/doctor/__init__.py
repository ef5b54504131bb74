"""`make doctor`: what of this project's surroundings is missing, in plain lines, each with how to mend it."""

from collections import Counter
from collections.abc import Callable, Iterator

from . import here, hub
from .finding import Finding, Level

EXAMINATIONS: tuple[Callable[[], Iterator[Finding]], ...] = (
    here.machine,
    here.engine,
    here.storage,
    here.tracking,
    hub.github,
)


def run() -> int:
    """Print one line a check, as they come; give 1 where something must be mended, else 0."""
    met: Counter[Level] = Counter()
    for examine in EXAMINATIONS:
        for finding in examine():
            print(finding, flush=True)
            met[finding.level] += 1
    print(f"\n{met[Level.PROBLEM]} to mend, {met[Level.WARNING]} to know about")
    return 1 if met[Level.PROBLEM] else 0
