"""data.dvc: DVC's pointer to data/, with the partitions by name, so that a pull request's diff shows the months."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from .. import files
from ..adapters import dvc_files
from ..files import md5
from ..paths import DATA_DVC, left_behind, partition


@dataclass
class Pointer:
    """What data.dvc's `meta` says: partition → rows of the main table, and partition → hash of its folder."""

    rows: dict[str, int] = field(default_factory=dict)
    md5: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Recorded partitions, oldest first."""
        return sorted(self.rows)


def read() -> Pointer:
    """Read data.dvc; where there is none, nothing is recorded. Raise `UserError` if it is not what DVC writes."""
    if not DATA_DVC.exists():
        return Pointer()
    content = dvc_files.read(DATA_DVC)
    rows = dict(dvc_files.partitions(content))
    for name in rows:
        partition(name, f"{DATA_DVC}: meta.partitions")
    return Pointer(rows, dict((content.get("meta") or {}).get("md5") or {}))


def write(pointer: Pointer) -> None:
    """Put the partitions into the data.dvc that `dvc add` has written."""
    content = dict(dvc_files.read(DATA_DVC))
    rows = {name: pointer.rows[name] for name in pointer.names}
    hashes = {name: pointer.md5[name] for name in pointer.names}
    content["meta"] = (content.get("meta") or {}) | {"partitions": rows, "md5": hashes}
    new = DATA_DVC.with_suffix(".dvc.new")
    new.write_text(files.dump_yaml(content))
    new.replace(DATA_DVC)


def folder_md5(folder: Path) -> str:
    """Hash a partition's folder as DVC does: the MD5 of the list of its files' MD5s."""
    inside = (path for path in folder.rglob("*") if not any(map(left_behind, path.relative_to(folder).parts)))
    files = sorted(path for path in inside if path.is_file())
    listed = [{"md5": md5(path), "relpath": path.relative_to(folder).as_posix()} for path in files]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
