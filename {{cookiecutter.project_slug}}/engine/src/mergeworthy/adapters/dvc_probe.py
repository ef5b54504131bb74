"""Write, read and delete one object on the DVC remote; prints JSON lines. The kernel ends it after so many seconds.

With `look` in their place it only asks the remote whether it is there; the caller ends it.
"""

import io
import json
import os
import signal
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

CONTENT = b"`make doctor` was here"


def main(seconds: float) -> None:
    """Say what the remote is, then what went wrong with it (null: nothing)."""
    from dvc.repo import Repo

    # From here on it is the network's turn: this ends the process, whatever a library waits for.
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        remote = Repo().cloud.get_remote()
        print(
            json.dumps({"url": remote.fs.unstrip_protocol(remote.path), "local": remote.fs.protocol == "local"}),
            flush=True,
        )
        _try(remote.fs, remote.path)
    except Exception as error:  # noqa: BLE001 - any library of any storage; told as a sentence by the parent
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
    else:
        print(json.dumps({"error": None}))


def _try(fs: Any, root: str) -> None:
    made = _absent(fs, root)
    path = fs.join(root, f"doctor-{uuid.uuid4().hex}")
    try:
        fs.put_file(io.BytesIO(CONTENT), path)  # as `dvc push` does
        with fs.open(path, "rb") as file:
            if file.read() != CONTENT:
                raise OSError("an object came back other than it was written")
    finally:
        if fs.exists(path):
            fs.rm_file(path)
        for folder in made:
            with suppress(OSError):
                Path(folder).rmdir()


def _absent(fs: Any, root: str) -> list[str]:
    """List the folders that writing below `root` makes on this machine, innermost first; a bucket has none."""
    if fs.protocol != "local":
        return []
    return [folder for folder in (root, *fs.parents(root)) if not os.path.lexists(folder)]


def look() -> None:
    """Ask the remote one question, whatever it answers."""
    from dvc.repo import Repo

    with suppress(Exception):  # what is wrong but silence, DVC says itself
        remote = Repo().cloud.get_remote()
        remote.fs.exists(remote.path)


if __name__ == "__main__":
    look() if sys.argv[1] == "look" else main(float(sys.argv[1]))
