"""Where jobs run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOSTED = frozenset({"ubuntu-24.04"})
DOUBLES = {f"{folder.parent.name}/{folder.name}": folder for folder in (Path(__file__).parent / "doubles").glob("*/*")}


@dataclass(frozen=True)
class Machine:
    """The runners' labels, what their environment adds, and doubles of third-party actions ("owner/name" → folder).

    A job may take `seconds`; with `keep`, the jobs' folders stay below it to be looked at; with `work`, a job of the
    same name has the same workspace below it in each run, as a runner's jobs have.
    """

    runners: Sequence[Collection[str]] = (HOSTED,)
    environment: Mapping[str, str] = field(default_factory=dict)
    doubles: Mapping[str, Path] = field(default_factory=lambda: DOUBLES)
    seconds: float = 600
    keep: Path | None = None
    work: Path | None = None

    @property
    def labels(self) -> frozenset[str]:
        """Every label that some runner has."""
        return frozenset(label for runner in self.runners for label in runner)

    def has_runner(self, wanted: Collection[str]) -> bool:
        """Whether one runner has all of these labels."""
        return any(set(wanted) <= set(labels) for labels in self.runners)
