"""Which partitions to take from the source: the next ones in order, and none left out."""

from itertools import pairwise

from ..errors import UserError
from .contract import period
from .sources import Source


def choose(recorded: list[str], until: str | None, accept: str | None, source: Source) -> list[str]:
    """Give the source's partitions after the newest of `recorded`, up to `until`, and `accept` wherever it lies.

    Raises `UserError` for a name that the source has not, one that arrives after a newer one, and a gap.
    """
    if not (recorded or until or accept):
        raise UserError("data.dvc records no partitions yet: say up to which, e.g. `make data UNTIL=2013-06`")
    asked = {name for name in (until, accept) if name and (name == accept or name not in recorded)}
    available = source.partitions() if asked else []
    for name in sorted(asked):
        _known(name, available)
    oldest, newest = (recorded[0], recorded[-1]) if recorded else ("", "")
    new = [name for name in available if until and oldest < name <= until and name not in recorded]
    for name in new:
        if name < newest and name != accept:
            raise UserError(f"{name} arrives out of order, after {newest}: take it with `make data ACCEPT={name}`")
    chosen = sorted({*new, *([accept] if accept else [])})
    for one, other in pairwise(sorted({*recorded, *chosen})):
        ends, begins = period(one), period(other)
        if other in chosen and ends and begins and ends[1] != begins[0]:
            raise UserError(f"{other} cannot follow {one}: the source lacks what lies between, deliver that first")
    return chosen


def _known(name: str, available: list[str]) -> None:
    if name not in available:
        has = f"{available[0]} to {available[-1]}" if available else "none"
        raise UserError(f"{name} is not a partition of the source in infra.yaml, which has {has}")
