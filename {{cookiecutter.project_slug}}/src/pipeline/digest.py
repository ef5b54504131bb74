"""What something was made from, as one hash."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest(values: Iterable[str], files: Iterable[Path]) -> str:
    """SHA-256 of some texts and of the content of some files, in this order."""
    parts = list(values)
    for path in files:
        with path.open("rb") as file:
            parts.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
