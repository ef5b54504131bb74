"""Files on their way to a machine that shares no disk with this one."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ray

Luggage = dict[str, Any]  # name → where Ray's object store holds the bytes


def pack(files: Iterable[Path]) -> Luggage:
    """Put them into the object store, once for all that will ask for them."""
    return {path.as_posix(): ray.put(path.read_bytes()) for path in files}


def write(files: Mapping[str, bytes], to: Path) -> None:
    """Lay them out as they were; a kill at any moment leaves each as it was or as it is to be."""
    for name, content in files.items():
        path = to / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.part")
        unfinished.write_bytes(content)
        unfinished.replace(path)


def unpack(luggage: Luggage, to: Path) -> None:
    """Lay the files out on this machine."""
    for name, content in luggage.items():
        write({name: ray.get(content)}, to)
