"""Partitions: their names and order, the files of each, and which of them a model is trained and measured on.

A partition is a folder of `data/` with one parquet file per table, and after the stage `features` a file in
`features/`. The newest partition is the holdout: no model is trained on it.
"""

import re
from pathlib import Path
from typing import Self

from .errors import UserError
from .files import DATA, FEATURES, is_ignored

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]{0,99}")
NUMBER_WORDS = {2: "two", 3: "three"}


class Partition(str):
    """The name of a partition, in the order of time: digits count as numbers, so `batch-10` comes after `batch-2`."""

    __slots__ = ()

    @classmethod
    def read(cls, name: str, where: str) -> Self:
        """Return `name` as a partition; raise `UserError`, which begins with `where`, if it cannot name one."""
        if not NAME.fullmatch(name):
            raise UserError(
                f"{where}: {name!r} cannot name a partition: use up to 100 letters a to z, digits, '_', '.', '-' and "
                "'=', and begin with a letter, a digit or '_'"
            )
        return cls(name)

    def folder(self, root: Path = DATA) -> Path:
        """Return the folder of its tables."""
        return root / self

    def table(self, name: str, root: Path = DATA) -> Path:
        """Return the file of one table."""
        return root / self / f"{name}.parquet"

    def tables(self, root: Path = DATA) -> list[Path]:
        """Return the table files that are there, sorted by name."""
        return sorted(path for path in self.folder(root).glob("*.parquet") if not is_ignored(path.name))

    @property
    def features(self) -> Path:
        """Its feature file."""
        return FEATURES / f"{self}.parquet"

    def __lt__(self, other: str) -> bool:
        return _order(self) < _order(other)

    def __le__(self, other: str) -> bool:
        return _order(self) <= _order(other)

    def __gt__(self, other: str) -> bool:
        return _order(self) > _order(other)

    def __ge__(self, other: str) -> bool:
        return _order(self) >= _order(other)


def accepted(root: Path = DATA) -> list[Partition]:
    """Return the partitions in `data/`, oldest first; raise `UserError` for a folder with an invalid name."""
    folders = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    return sorted(Partition.read(name, f"{root}/") for name in folders if not is_ignored(name))


def built() -> list[Partition]:
    """Return the partitions that have a feature file, oldest first."""
    return sorted(Partition(path.stem) for path in FEATURES.glob("*.parquet"))


def split(user: str, fix: str, least: int = 2) -> tuple[list[Partition], Partition]:
    """Return the partitions before the holdout, oldest first, and the holdout: the newest with a feature file.

    Raise `UserError` if there are fewer than `least`: it names the `user` of them, and ends with `fix`.
    """
    partitions = built()
    if len(partitions) < least:
        count = NUMBER_WORDS[least]
        raise UserError(f"features/ holds {len(partitions)} partition(s), {user} needs {count}: {fix}")
    *training, holdout = partitions
    return training, holdout


def _order(name: str) -> tuple[list[str | int], str]:
    """Return the key of the order: texts and numbers in turn; names such as 1 and 01 are ordered as text."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if odd % 2 else part for odd, part in enumerate(parts)], str(name)
