"""Which partitions came, went or were delivered again, from what data.dvc says at two commits."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..adapters import dvc_files, git
from ..paths import DATA_DVC
from ..render.markdown import code, counted

NAMED = 12  # partitions


@dataclass(frozen=True)
class Partition:
    """Rows of the main table, and the hash of all tables where it is recorded."""

    rows: int
    md5: str | None


def first() -> str:
    """Say what the first model has."""
    return f"{_total(_disk())}."


def told(base: str) -> str:
    """Say what differs from `base`; raise `UserError` where a data.dvc cannot be read."""
    text, name = git.read(base, DATA_DVC), f"{DATA_DVC} at {base[:12]}"
    old, new = _partitions(_read(text, name)), _disk()
    parts = [
        _named("added", {name: f"{part.rows:,} rows" for name, part in new.items() if name not in old}),
        _named("removed", {name: f"{part.rows:,} rows" for name, part in old.items() if name not in new}),
        _named("changed", {n: _change(old[n], new[n]) for n in old if n in new and _differ(old[n], new[n])}),
    ]
    if old and new and max(old) != max(new):
        parts.append(f"the holdout moved from {code(max(old))} to {code(max(new))}")
    if not any(parts) and text is not None and _hash(_read(text, name)) != _hash(dvc_files.read(DATA_DVC)):
        parts.append(f"⚠️ other content, which the `meta` of {DATA_DVC} does not say: the check `data` names it")
    return f"**Data**: {'; '.join(part for part in parts if part) or 'unchanged'}. Now {_total(new)} in all."


def _hash(content: dvc_files.Document) -> object:
    return content["outs"][0].get("md5")


def _differ(old: Partition, new: Partition) -> bool:
    """Compare; where a hash is not recorded, rows are all there is."""
    return old.rows != new.rows or (None not in (old.md5, new.md5) and old.md5 != new.md5)


def _change(old: Partition, new: Partition) -> str:
    return f"{old.rows:,} → {new.rows:,} rows" if old.rows != new.rows else f"other content in {new.rows:,} rows"


def _named(what: str, facts: Mapping[str, str]) -> str:
    shown = [f"{code(name)} ({fact})" for name, fact in sorted(facts.items())[:NAMED]]
    more = f" and {len(facts) - NAMED:,} more" if len(facts) > NAMED else ""
    return f"{what} {', '.join(shown)}{more}" if shown else ""


def _total(partitions: Mapping[str, Partition]) -> str:
    rows = sum(partition.rows for partition in partitions.values())
    return f"{counted(len(partitions), 'partition')}, {counted(rows, 'row')}"


def _disk() -> dict[str, Partition]:
    return _partitions(dvc_files.read(DATA_DVC)) if DATA_DVC.exists() else {}


def _read(text: str | None, name: str) -> dvc_files.Document:
    return dvc_files.parse(text, name) if text is not None else {}


def _partitions(content: dvc_files.Document) -> dict[str, Partition]:
    hashes = (content.get("meta") or {}).get("md5") or {}
    return {name: Partition(rows, hashes.get(name)) for name, rows in dvc_files.partitions(content).items()}
