"""What the checks found so far. A check that cannot be made is written down as a block, and the next one is made."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..errors import UserError
from ..verdict import Check, Comparison, Verdict, worst


@dataclass
class Ledger:
    """Checks in the order they were made; holdout and champion as soon as they are known."""

    partition: str | None = None
    champion: str | None = None
    checks: list[Check] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    def add(self, *checks: Check) -> None:
        """Write down checks that were made."""
        self.checks += checks

    @contextmanager
    def check(self, name: str) -> Iterator[None]:
        """Write a `UserError` raised inside down as a block of that name."""
        try:
            yield
        except UserError as error:
            self.add(Check(name=name, result="block", why=f"{' '.join(str(error).split())}."))

    def verdict(self, commit: str | None, lock: str | None) -> Verdict:
        """Close the books."""
        return Verdict(
            outcome=worst(self.checks),
            commit=commit,
            lock=lock,
            champion=self.champion,
            partition=self.partition,
            checks=self.checks,
            comparisons=self.comparisons,
        )
