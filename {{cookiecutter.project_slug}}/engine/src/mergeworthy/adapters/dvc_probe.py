"""A program that tries the DVC remote: it writes, reads and deletes one object, and prints JSON lines.

Its argument is a number of seconds, after which the kernel ends it. With `look` instead it only asks the remote one
question, and its caller ends it.
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
    """Print the remote's address, then the error of trying it (null: none)."""
    from dvc.repo import Repo

    # What follows uses the network: the timer ends the process, whatever a library waits for.
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        remote = Repo().cloud.get_remote()
        facts = {"url": remote.fs.unstrip_protocol(remote.path), "local": remote.fs.protocol == "local"}
        print(json.dumps(facts), flush=True)
        _try(remote.fs, remote.path)
    except Exception as error:  # noqa: BLE001 - any library of any storage; the parent makes a sentence of it
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
    else:
        print(json.dumps({"error": None}))


def _try(fs: Any, root: str) -> None:
    new_folders = _missing_folders(fs, root)
    path = fs.join(root, f"doctor-{uuid.uuid4().hex}")
    try:
        fs.put_file(io.BytesIO(CONTENT), path)  # as `dvc push` does
        with fs.open(path, "rb") as file:
            if file.read() != CONTENT:
                raise OSError("an object that was read differs from what was written")
    finally:
        if fs.exists(path):
            fs.rm_file(path)
        for folder in new_folders:
            with suppress(OSError):
                Path(folder).rmdir()


def _missing_folders(fs: Any, root: str) -> list[str]:
    """Return the folders that writing below `root` creates on this machine, innermost first; a bucket has none."""
    if fs.protocol != "local":
        return []
    return [folder for folder in (root, *fs.parents(root)) if not os.path.lexists(folder)]


def look() -> None:
    """Ask the remote one question, and ignore its answer."""
    from dvc.repo import Repo

    with suppress(Exception):  # DVC itself reports every error but silence
        remote = Repo().cloud.get_remote()
        remote.fs.exists(remote.path)


if __name__ == "__main__":
    look() if sys.argv[1] == "look" else main(float(sys.argv[1]))
